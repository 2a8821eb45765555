"""A preference's own words stay out of steered answers, with a model that recites all it reads."""

from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from langchain_amulet import ChatAmulet
from langchain_amulet.engine import backends
from langchain_amulet.methods import Amulet, Auto, Iterated, LinearAlignment, Method
from langchain_amulet.preferences.echo_guard import echoes
from langchain_amulet.steering import amulet_utility
from support.registries import restored

PREFERENCE, QUESTION = "Please use a formal tone.", "How do I sleep better?"
COPYING = 10.0
"""How much likelier, in nats, a token is that came where the last one came first."""


class Parrot(backends.UncachedModel):
    """Goes on as the text did at the first place of its last token."""

    def next_logits(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        return torch.stack([self.follows(list(ids)) for ids in sequences])

    def follows(self, ids: list[int]) -> Tensor:
        noise = torch.Generator().manual_seed(ids[-1])
        logits = torch.randn(self.info.logits_width, generator=noise)
        if (place := ids.index(ids[-1])) < len(ids) - 1:
            logits[ids[place + 1]] += COPYING
        return logits


def load(model_id: str, options: backends.LoadOptions) -> Parrot:
    pocket = backends.load_huggingface(model_id, backends.LoadOptions(dtype="float32"))
    return Parrot(pocket.tokenizer, pocket.info)


@pytest.fixture(scope="module")
def parrot() -> Iterator[ChatAmulet]:
    with restored(backends.BACKENDS):
        backends.register("parrot")(load)
        with ChatAmulet(model="pocket", backend="parrot", temperature=0, max_tokens=24) as llm:
            yield llm


@pytest.mark.parametrize(
    "method",
    [Auto(), Amulet(), Amulet(plausibility=0.0), Amulet(kl_cap=1.0), LinearAlignment(),
     Iterated(utility=amulet_utility)],
    ids=["by default", "masked", "unmasked", "capped", "linear_alignment", "iterated"],
)  # fmt: skip
def test_a_steered_answer_repeats_no_phrase_of_its_preference(
    parrot: ChatAmulet, method: Method
) -> None:
    steered = {"preference": PREFERENCE, "method": method}
    assert echoes(parrot.invoke(QUESTION, **steered, echo_guard=False).text, [PREFERENCE]) == 3
    assert echoes(parrot.invoke(QUESTION, **steered).text, [PREFERENCE]) == 0


def test_nor_does_it_of_several_or_stored_ones(parrot: ChatAmulet) -> None:
    both = [PREFERENCE, "Always be kind and patient."]
    assert echoes(parrot.invoke(QUESTION, preference=both, echo_guard=False).text, both) == 3
    assert echoes(parrot.invoke(QUESTION, preference=both).text, both) == 0
    standing = parrot.with_preference(both[1])
    assert echoes(standing.invoke(QUESTION, preference=PREFERENCE, compose=True).text, both) == 0


def test_what_the_conversation_says_may_be_said(parrot: ChatAmulet) -> None:
    said = [("human", f"Somebody wrote: {PREFERENCE}"), ("ai", "Well."), ("human", "Repeat that.")]
    guarded, free = (
        parrot.invoke(said, preference=PREFERENCE, echo_guard=guard).text for guard in (True, False)
    )
    assert guarded == free
    assert echoes(guarded, [PREFERENCE]) == 3


def test_a_prompted_answer_is_the_models_own(parrot: ChatAmulet) -> None:
    for plain in ({"method": "pref"}, {"method": Amulet(strength=0.0, plausibility=0.0)}):
        assert echoes(parrot.invoke(QUESTION, preference=PREFERENCE, **plain).text, [PREFERENCE])
