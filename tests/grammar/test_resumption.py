"""White space that an answer begins with: required as a whole, however tokens spell it."""

import torch

from langchain_amulet.grammar import Resumption

TOKENS = (b"a", b" ", b"  ", b" a", b"\n", b"   b", b"")
SPELLINGS = {token: spelled for token, spelled in enumerate(TOKENS) if spelled[:1] in (b" ", b"\n")}


def allowed(held: Resumption) -> list[bytes]:
    return [TOKENS[token] for token in held.allowed().nonzero().flatten().tolist()]


def test_only_what_begins_with_the_rest_of_it_comes_until_it_is_there() -> None:
    held = Resumption("  ", SPELLINGS, len(TOKENS))
    assert allowed(held) == [b" ", b"  ", b"   b"]
    assert held.accept(TOKENS.index(b" "))
    assert allowed(held) == [b" ", b"  ", b" a", b"   b"]
    assert held.accept(TOKENS.index(b" a"))
    assert allowed(held) == list(TOKENS)


def test_an_answer_is_free_where_no_token_spells_it() -> None:
    held = Resumption("\t", SPELLINGS, len(TOKENS))
    assert allowed(held) == list(TOKENS)


class OnlyLetters:
    """A grammar that takes letters alone, whatever stands before them."""

    def allowed(self) -> torch.Tensor:
        return torch.tensor([spelled.strip() != b"" for spelled in TOKENS])

    def accept(self, token: int) -> bool:
        return TOKENS[token] != b"   b"


def test_a_grammar_holds_besides() -> None:
    held = Resumption("  ", SPELLINGS, len(TOKENS), OnlyLetters())  # type: ignore[arg-type]
    assert allowed(held) == [b"   b"]
    assert not held.accept(TOKENS.index(b"   b"))
    assert allowed(held) == [b"   b"]
