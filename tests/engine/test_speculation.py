"""Drafts change how many steps an answer takes, and nothing else of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from langchain_amulet.engine import Engine, HuggingFaceModel, Pause, Request, prompt_lookup
from langchain_amulet.engine.backends.base import ModelInfo
from langchain_amulet.engine.backends.huggingface.batched import BatchedBackend
from langchain_amulet.engine.backends.uncached import UncachedModel
from langchain_amulet.engine.prompt_lookup import COST, MOST_DRAFTED, PromptLookup, continuation
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.sampling import SamplingParams
from support.tiny_engine import AMULET, PLAIN, POISON, VOCABULARY, ids_of, request_for

FEW = tuple(range(3, 9))
"""So few tokens to draw that all pairs of them were written soon, and drafts are often wrong."""


class Only:
    """A constraint that allows some tokens, and refuses one of them in every third place."""

    def __init__(self, tokens: Sequence[int] = FEW, refuses: bool = False) -> None:
        self.mask = torch.zeros(VOCABULARY, dtype=torch.bool)
        self.mask[list(tokens)] = True
        self.refuses, self.taken, self.refused = refuses, 0, -1

    def allowed(self) -> Tensor:
        mask = self.mask.clone()
        if self.refused >= 0:
            mask[self.refused] = False
        return mask

    def accept(self, token: int) -> bool:
        if self.refuses and self.taken % 3 == 2 and self.refused < 0:
            self.refused = token
            return False
        self.taken, self.refused = self.taken + 1, -1
        return True


class Held:
    """A guard that holds back what was written last."""

    def held(self, tokens: Sequence[int]) -> Sequence[int]:
        return tokens[-1:]


KINDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "sampled among few": lambda seed: {
        "sampling": SamplingParams(seed=seed, temperature=2.0),
        "constraint": Only(),
    },
    "greedy": lambda seed: {"sampling": SamplingParams(temperature=0)},
    "top-k, top-p and penalties": lambda seed: {
        "sampling": SamplingParams(
            seed=seed, top_k=5, top_p=0.9, repetition_penalty=1.3, presence_penalty=0.2
        ),
        "constraint": Only(),
    },
    "under a grammar that refuses": lambda seed: {
        "sampling": SamplingParams(seed=seed, temperature=2.0),
        "constraint": Only(refuses=True),
    },
    "with pauses": lambda seed: {
        "sampling": SamplingParams(seed=seed, temperature=2.0),
        "constraint": Only(),
        "pauses": (Pause(openings=frozenset({4}), closing=6),),
    },
    "with a guard": lambda seed: {
        "sampling": SamplingParams(seed=seed, temperature=2.0),
        "constraint": Only(),
        "guard": Held(),
    },
    "one stream": lambda seed: {
        "sampling": SamplingParams(seed=seed, temperature=2.0),
        "constraint": Only(),
        "plan": PLAIN,
    },
    "until a stop token": lambda seed: {
        "sampling": SamplingParams(seed=seed, temperature=2.0),
        "constraint": Only((*FEW, 9)),
        "stop_ids": frozenset({9}),
    },
}


def asked(kind: str, seed: int, max_tokens: int = 40, **more: Any) -> Request:
    """A request of a kind, with state of its own."""
    return request_for(seed, max_tokens, **KINDS[kind](seed), **more)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have drafts wherever something is found, so that many of them are wrong."""
    monkeypatch.setattr(prompt_lookup, "COST", 1e-6)


@pytest.fixture
def roomy(model: Any, free: None) -> Iterator[Engine]:
    with Engine(HuggingFaceModel(model), max_rows=16, prefill_chunk=8) as engine:
        yield engine


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_the_same_with_drafts_in_fewer_steps(roomy: Engine, kind: str) -> None:
    for seed in range(6):
        before = roomy.stats()
        plain = list(roomy.submit(asked(kind, seed)))
        between = roomy.stats()
        stream = roomy.submit(asked(kind, seed, speculates=True))
        drafted = list(stream)
        after = roomy.stats()
        assert [token.id for token in drafted] == [token.id for token in plain]
        assert [t.logprob for t in drafted] == pytest.approx([t.logprob for t in plain], abs=1e-3)
        accepted = after.accepted_tokens - between.accepted_tokens
        steps = after.decode_steps - between.decode_steps
        assert steps == between.decode_steps - before.decode_steps - accepted
        assert stream.drafts is not None
        assert stream.drafts.accepted == accepted
        assert stream.drafts.drafted == after.drafted_tokens - between.drafted_tokens
    assert 0 < after.accepted_tokens < after.drafted_tokens


def test_requests_with_and_without_drafts_share_steps_while_others_are_prefilled(
    roomy: Engine,
) -> None:
    kinds = list(KINDS)
    alone = [ids_of(roomy, asked(kind, seed)) for seed, kind in enumerate(kinds)]
    together = []
    for seed, kind in enumerate(kinds):  # later ones wait for room, join and are prefilled between
        length = 12 if seed < 4 else 60
        request = asked(kind, seed, length=length, speculates=seed % 3 < 2)
        if length == 60:
            alone[seed] = ids_of(roomy, asked(kind, seed, length=length))
        together.append(request)
    answers = [roomy.submit(request) for request in together]
    assert [[token.id for token in answer] for answer in answers] == alone
    assert roomy.stats().accepted_tokens > 0 and roomy.stats().rows == 0


def test_what_is_kept_of_an_answer_with_drafts_is_that_answer(roomy: Engine) -> None:
    request = asked("sampled among few", 5, 50)
    answer = ids_of(roomy, replace(request, constraint=Only(), speculates=True))
    longer = tuple((*prompt, *answer) for prompt in request.prompts)
    following = Request(longer, AMULET, SamplingParams(temperature=0), 8)
    stream = roomy.submit(following)
    warm = [token.id for token in stream]
    assert min(stream.cached_tokens) > len(request.prompts[0])
    with Engine(roomy._model) as cold:
        assert ids_of(cold, following) == warm


def test_passes_of_fixed_shapes_give_the_same(model: Any, free: None) -> None:
    with Engine(HuggingFaceModel(model), max_rows=16) as engine:
        plain = [ids_of(engine, asked("sampled among few", seed)) for seed in range(3)]
        assert isinstance(engine._main, BatchedBackend)
        static = engine._main.play_back(lambda body: body)
        requests = [asked("sampled among few", seed, speculates=seed > 0) for seed in range(3)]
        answers = [engine.submit(request) for request in requests]
        assert [[token.id for token in answer] for answer in answers] == plain
        assert static.is_on and static.shapes


def test_a_draft_that_is_poison_fails_nobody_else(roomy: Engine) -> None:
    other = asked("greedy", 1)
    alone = ids_of(roomy, other)
    poison = asked("sampled among few", 2, speculates=True)
    poison = replace(poison, prompts=tuple((POISON, *p, POISON) for p in poison.prompts))
    failing, fine = roomy.submit(poison), roomy.submit(replace(other, speculates=True))
    assert [token.id for token in fine] == alone
    with pytest.raises(Exception, match="finite logits"):
        list(failing)


# --- By counting ---


class Chain(UncachedModel):
    """A model of four tokens, of which the last two decide what follows."""

    def __init__(self) -> None:
        super().__init__(None, ModelInfo(vocabulary_size=4, logits_width=4))
        generator = torch.Generator().manual_seed(7)
        self.table = torch.randn(2, 4, 4, 4, generator=generator)

    def next_logits(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        # The preference is the first token: 3 in the stream that has it, which is longer.
        return torch.stack([self.table[int(s[0] == 3), s[-2], s[-1]] for s in sequences])


def test_answers_are_distributed_as_without_drafts(free: None) -> None:
    plan, sampling = AMULET, SamplingParams(temperature=1.5)
    prompts = ((3, 0, 1, 2, 0, 1), (0, 1, 2, 0, 1))
    counts: dict[bool, Counter[tuple[int, ...]]] = {False: Counter(), True: Counter()}
    with Engine(Chain(), max_rows=10) as engine:
        for speculates in counts:
            for start in range(0, 1500, 300):
                answers = [
                    engine.submit(
                        Request(
                            prompts,
                            plan,
                            # Other seeds, so that equal noise can't be what makes them equal.
                            replace(sampling, seed=10_000 * speculates + start + index),
                            3,
                            speculates=speculates,
                        )
                    )
                    for index in range(300)
                ]
                counts[speculates].update(tuple(t.id for t in answer) for answer in answers)
        stats = engine.stats()
    assert 0 < stats.accepted_tokens < stats.drafted_tokens
    plain, drafted = counts[False], counts[True]
    common = [answer for answer in plain | drafted if plain[answer] + drafted[answer] >= 20]
    distance = sum(
        (plain[answer] - drafted[answer]) ** 2 / (plain[answer] + drafted[answer])
        for answer in common
    )
    # Chi-squared with so many degrees of freedom: five standard deviations.
    assert len(common) > 3
    assert distance < len(common) + 5 * (2 * len(common)) ** 0.5


# --- What is drafted, and when ---


def test_a_draft_is_what_followed_the_longest_match_and_of_several_the_latest() -> None:
    def after(*tokens: int, most: int = 3) -> list[int]:
        return continuation(np.array(tokens), most)

    assert after(1, 2, 3, 4, 5, 1, 2) == [3, 4, 5]
    assert after(1, 2, 7, 9, 1, 2, 8, 9, 1, 2) == [8, 9, 1]
    assert after(5, 1, 2, 7, 9, 1, 2, 8, 5, 1, 2) == [7, 9, 1]
    assert after(1, 2, 3, 1, 2, most=8) == [3, 1, 2]
    assert after(1, 2, 3, 4, 2) == []  # one token is no match
    assert after(1) == after(1, 1) == []
    assert after(1, 1, 1) == [1]


def test_drafts_that_are_never_right_take_a_few_hundredths_of_the_steps() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 3, 4])
    for _ in range(1000):
        lookup.draft([], MOST_DRAFTED)
    assert 0 < COST * lookup.drafted < 0.02 * 1000


def test_a_text_of_few_words_has_next_to_no_drafts() -> None:
    """Its short repetitions say nothing, of which there is one nearly everywhere."""
    generator = torch.Generator().manual_seed(3)
    written = torch.randint(0, 12, (600,), generator=generator).tolist()
    found = [len(continuation(np.array(written[:end]), 1)) for end in range(100, 600)]
    assert sum(found) > 400
    lookup = PromptLookup(range(100, 150))
    for end in range(600):
        for place, token in enumerate(lookup.draft(written[:end], MOST_DRAFTED), end):
            if place < 600 and token == written[place]:
                lookup.accept()
            else:
                break
    assert COST * lookup.drafted - lookup.accepted < 0.01 * 600


def test_drafts_that_are_right_grow_to_their_longest() -> None:
    answer = list(range(100))
    lookup = PromptLookup([*answer, 0, 1, 2, 3])
    written, lengths = list[int](), list[int]()
    while len(written) < 80:
        draft = lookup.draft(written, MOST_DRAFTED)
        place = 4 + len(written)
        assert draft == answer[place : place + len(draft)]
        for _ in draft:
            lookup.accept()
        written += answer[place : place + len(draft) + 1]
        lengths.append(len(draft))
    assert lengths[2:] == [MOST_DRAFTED] * (len(lengths) - 2)


# --- Where it can't be ---


def test_a_backend_that_cannot_forget_refuses(model: Any) -> None:
    with Engine(HuggingFaceModel(model, backend="sequential")) as engine:
        with pytest.raises(ConfigurationError, match=r"forget tokens .* 'sequential' can't"):
            engine.submit(request_for(speculates=True))
        assert ids_of(engine, request_for())
