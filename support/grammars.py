"""What a random model writes under a grammar."""

import torch

from langchain_amulet.engine import Request
from langchain_amulet.grammar import Grammar, GrammarCompiler
from langchain_amulet.methods import Amulet, Guidance
from langchain_amulet.sampling import SamplingParams
from support.draws import next_token
from support.tokenizers import byte_level

TOKENIZER = byte_level()
STOP = TOKENIZER.eos_token_id
PADDED = len(TOKENIZER) + 37
"""How many logits there are: more than tokens, as with many models."""
COMPILER = GrammarCompiler(TOKENIZER, PADDED)
LIMIT = 160
"""Tokens that an answer may have unless a test says otherwise."""
PLAN = Amulet.paper().plan([Guidance()])
HOT = SamplingParams(temperature=1.5)


def written(grammar: Grammar, seed: int, limit: int = LIMIT) -> str:
    """What a random model writes under a grammar, steered as in the paper, at temperature 1.5."""
    noise = torch.Generator().manual_seed(seed)
    request = Request(((1,), (1,)), PLAN, HOT, limit, frozenset({STOP}), constraint=grammar)
    ids: list[int] = []
    while len(ids) < limit:
        streams = torch.randn(2, PADDED, generator=noise).mul(2).log_softmax(-1)
        token = next_token(request, streams, None, ids, float(torch.rand((), generator=noise)))
        if token.id == STOP:
            return str(TOKENIZER.decode(ids))
        if grammar.accept(token.id):
            ids.append(token.id)
    assert bool(grammar.allowed()[STOP]), "cut before its end"
    return str(TOKENIZER.decode(ids))


def grammar_of(lark: str, limit: int = LIMIT) -> Grammar:
    """A grammar over `TOKENIZER`, of an answer that its end of a turn ends."""
    return COMPILER.compile(lark, limit, frozenset({STOP}))
