"""A user's strength and weights are learned from what they liked and chose, and remembered."""

import asyncio
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from langchain_amulet import ChatAmulet, Preference, PreferenceMemory
from langchain_amulet.errors import (
    ConfigurationError,
    ContextLengthError,
    PreferenceError,
    RequestError,
)
from langchain_amulet.fitting.examples import Examples, Given
from langchain_amulet.fitting.likelihood import TOKENS_WEIGHED
from langchain_amulet.memory import StoredPreference
from langchain_amulet.methods import Amulet, Pref

QUESTIONS = [
    "How do I sleep better?",
    "How do I learn to cook?",
    "How can I save money?",
    "How do I stay focused?",
    "How do I get fit?",
    "How do I make friends?",
    "How do I write better?",
    "How do I grow tomatoes?",
]
CHEERFUL, SHORT = Preference("Be cheerful."), Preference("Keep it short.")
LIKED: list[Given] = [(QUESTIONS[0], "Wonderful! It helps to maintain a consistent bedtime.")]


@pytest.fixture(scope="module")
def llm() -> Iterator[ChatAmulet]:
    method = Amulet(strength="balanced")
    with ChatAmulet(dtype="float32", temperature=1.0, max_tokens=300, method=method) as model:
        yield model


@pytest.fixture
def memory() -> PreferenceMemory:
    return PreferenceMemory(InMemoryStore())


def sampled(
    llm: ChatAmulet, preference: Any, rounds: int, first_seed: int = 0
) -> list[tuple[str, str]]:
    """Answers to all questions, drawn independently of each other; unfinished ones are left out."""

    async def ask() -> list[Any]:
        asked = enumerate(QUESTIONS * rounds, first_seed)
        return await asyncio.gather(
            *(llm.ainvoke(q, preference=preference, seed=seed) for seed, q in asked)
        )

    answers = zip(QUESTIONS * rounds, asyncio.run(ask()), strict=True)
    return [(q, a.text) for q, a in answers if a.response_metadata["finish_reason"] == "stop"]


# --- Recovery ----------------------------------------------------------------


@pytest.mark.parametrize(
    "strength",
    [
        pytest.param(0.0, marks=pytest.mark.exhaustive),
        1.0,
        pytest.param(4.65, marks=pytest.mark.exhaustive),
    ],
)
def test_the_strength_that_texts_were_written_with_is_found(
    llm: ChatAmulet, strength: float
) -> None:
    texts = sampled(llm, Preference(CHEERFUL.text, strength=strength), 3)
    learned = llm.fit([CHEERFUL], Examples(liked=texts), deviation=3.0)
    assert learned.field == "strength" and learned.examples == len(texts)
    (value,), (error,) = learned.estimates, learned.errors
    assert abs(value - strength) < 3 * error < 2.5
    assert learned.preferences == (Preference(CHEERFUL.text, strength=round(value, 3)),)


def test_the_weights_that_texts_were_written_with_are_found(llm: ChatAmulet) -> None:
    preferences = [
        CHEERFUL.model_copy(update={"weight": 1.0}),
        SHORT.model_copy(update={"weight": 0.3}),
    ]
    learned = llm.fit([CHEERFUL, SHORT], Examples(liked=sampled(llm, preferences, 3)))
    assert learned.field == "weight"
    for value, error, preference in zip(
        learned.estimates, learned.errors, preferences, strict=True
    ):
        assert abs(value - preference.weight) < 3 * error < 0.5
    assert [each.weight for each in learned.preferences] == pytest.approx(
        learned.estimates, abs=1e-3
    )
    assert [each.strength for each in learned.preferences] == [None, None]


@pytest.mark.exhaustive
def test_the_weights_that_choices_were_made_with_are_found(llm: ChatAmulet) -> None:
    wanted, random_choice = (1.0, 0.3), random.Random(0)
    pool = {answer for each in (None, CHEERFUL, SHORT) for answer in sampled(llm, each, 2)}
    worth = {answer: force(llm, answer, wanted) for answer in sorted(pool)}
    chosen, rejected = zip(*simulated(worth, 100, random_choice), strict=True)
    learned = llm.fit([CHEERFUL, SHORT], Examples(chosen=chosen, rejected=rejected))
    for value, error, true in zip(learned.estimates, learned.errors, wanted, strict=True):
        assert abs(value - true) < 3 * error < 1.0


def force(llm: ChatAmulet, answer: tuple[str, str], weights: Sequence[float]) -> float:
    """What an answer is worth to a user with these weights, at the balanced strength."""
    total = 0.0
    for preference, weight in zip((CHEERFUL, SHORT), weights, strict=True):
        score = llm.score(*answer, preference=preference)
        contrast = (score.pref_total - score.base_total) / len(score.token_ids)
        total += TOKENS_WEIGHED * 2.0 * weight * contrast
    return total


def simulated(
    worth: dict[tuple[str, str], float], count: int, draw: random.Random
) -> Iterator[tuple[Given, Given]]:
    """Choices between two answers to the same question, the better one first."""
    for _ in range(count):
        question = draw.choice(QUESTIONS)
        one, other = draw.sample([answer for answer in worth if answer[0] == question], 2)
        odds = 1.0 / (1.0 + math.exp(worth[other] - worth[one]))
        yield (one, other) if draw.random() < odds else (other, one)


# --- What else a fit knows ---------------------------------------------------


def test_the_fit_starts_from_the_preference_s_own_strength_or_the_method_s(
    llm: ChatAmulet,
) -> None:
    examples, sure = Examples(liked=LIKED), {"deviation": 1e-3}
    own = Preference(CHEERFUL.text, strength=3.0)
    assert llm.fit([own], examples, **sure).estimates[0] == pytest.approx(3.0, abs=1e-2)
    for method, start in ((Amulet(), 4.6487), (Amulet(strength="strong"), 2.0), (Pref(), 1.0)):
        found = llm.fit([CHEERFUL], examples, method=method, **sure)
        assert found.estimates[0] == pytest.approx(start, abs=1e-2)


def test_three_examples_do_not_run_away(llm: ChatAmulet) -> None:
    cheerful = [(q, "Great! You can do it! Keep going! Trust yourself!") for q in QUESTIONS[:3]]
    plain = [(q, "Rest.") for q in QUESTIONS[:3]]
    learned = llm.fit([CHEERFUL], Examples(chosen=cheerful, rejected=plain))
    assert 1.0 < learned.estimates[0] < 3.0
    against = llm.fit([CHEERFUL], Examples(chosen=plain, rejected=cheerful))
    assert -2.0 < against.estimates[0] < 1.0


def test_examples_and_deviations_that_make_no_sense_are_refused(llm: ChatAmulet) -> None:
    with pytest.raises(RequestError, match="no example"):
        Examples()
    with pytest.raises(RequestError, match="in pairs"):
        Examples(chosen=LIKED)
    with pytest.raises(ConfigurationError, match="deviation"):
        llm.fit([CHEERFUL], Examples(liked=LIKED), deviation=0.0)
    with pytest.raises(RequestError, match="there is none"):
        llm.fit([], Examples(liked=LIKED))
    with pytest.raises(ContextLengthError):
        llm.fit([CHEERFUL], Examples(liked=[(QUESTIONS[0], "word " * 3000)]))


def test_a_preference_to_fit_may_be_given_as_for_a_call(llm: ChatAmulet) -> None:
    examples = Examples(liked=LIKED)
    expected = llm.fit([CHEERFUL], examples)
    assert llm.fit([CHEERFUL.text], examples) == llm.fit(CHEERFUL.text, examples) == expected
    assert llm.fit(CHEERFUL, examples) == expected
    with pytest.raises(PreferenceError, match="must be a text or a Preference"):
        llm.fit([7], examples)


def test_examples_are_examples(llm: ChatAmulet) -> None:
    pairs: Any = LIKED
    with pytest.raises(RequestError, match=r"not of type list: make them by Examples\(liked="):
        llm.fit([CHEERFUL], pairs)


@pytest.mark.parametrize("name", ["liked", "chosen", "rejected"])
def test_examples_come_in_lists(name: str) -> None:
    with pytest.raises(RequestError, match=f"{name} must be of type list or tuple, not this text"):
        Examples(**{name: "a text"})  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [["a text"], [("a", "b", "c")], [("a", None)]])
@pytest.mark.parametrize("name", ["liked", "chosen", "rejected"])
def test_what_is_no_pair_is_no_example(name: str, wrong: Any) -> None:
    with pytest.raises(RequestError, match=r"must be a pair .*aren't.*\(question, answer\)"):
        Examples(**{name: wrong})


async def test_asynchronously_it_is_the_same(llm: ChatAmulet) -> None:
    examples = Examples(liked=LIKED)
    assert await llm.afit([CHEERFUL], examples) == llm.fit([CHEERFUL], examples)


# --- Remembering it ----------------------------------------------------------


def test_a_strength_that_was_learned_is_stored_and_used(
    llm: ChatAmulet, memory: PreferenceMemory
) -> None:
    memory.set("ada", CHEERFUL)
    learned = memory.learn("ada", model=llm, liked=LIKED)
    (stored,) = memory.get("ada")
    assert stored == Preference(CHEERFUL.text, strength=round(learned.estimates[0], 3))
    assert [change.action for change in memory.history("ada")] == ["learn", "set"]
    remembering = llm.model_copy(update={"memory": memory})
    answer = remembering.invoke(QUESTIONS[0], {"configurable": {"user_id": "ada"}})
    assert answer.response_metadata["strength"] == stored.strength


async def test_asynchronously_the_same_is_stored(llm: ChatAmulet) -> None:
    stored = []
    for learn in ("learn", "alearn"):
        memory = PreferenceMemory(InMemoryStore())
        await memory.aset("ada", [CHEERFUL, SHORT])
        found = getattr(memory, learn)(
            "ada", model=llm, chosen=LIKED, rejected=[(QUESTIONS[0], "No.")]
        )
        learned = await found if learn == "alearn" else found
        kept = await memory.aget("ada")
        assert [each.weight for each in kept] == [each.weight for each in learned.preferences]
        stored.append(learned)
    assert stored[0] == stored[1]


async def test_only_a_model_can_learn(memory: PreferenceMemory) -> None:
    memory.set("ada", CHEERFUL)
    named: Any = "pocket"
    with pytest.raises(ConfigurationError, match="not 'pocket': use the ChatAmulet"):
        memory.learn("ada", model=named, liked=LIKED)
    with pytest.raises(ConfigurationError, match="not 'pocket': use the ChatAmulet"):
        await memory.alearn("ada", model=named, liked=LIKED)


def test_a_preference_learns_only_from_what_it_applies_to(
    llm: ChatAmulet, memory: PreferenceMemory
) -> None:
    at_work = StoredPreference(SHORT.text, when=["work"])
    memory.set("ada", [StoredPreference(CHEERFUL.text), at_work])
    learned = memory.learn("ada", model=llm, liked=LIKED)
    assert learned.estimates[1] == pytest.approx(1.0) and learned.errors[1] == pytest.approx(1.0)
    assert learned.errors[0] < 1.0
    assert memory.profile("ada").preferences[1].when == ("work",)


def test_learning_needs_something_stored_and_brings_nothing_back(
    llm: ChatAmulet, memory: PreferenceMemory
) -> None:
    with pytest.raises(PreferenceError, match="none is stored"):
        memory.learn("ada", model=llm, liked=LIKED)

    class Forgetful:
        """A model whose user changes their mind meanwhile."""

        def fit(self, *args: Any, **kwargs: Any) -> Any:
            memory.forget("ada")
            return llm.fit(*args, **kwargs)

    memory.set("ada", CHEERFUL)
    memory.learn("ada", model=Forgetful(), liked=LIKED)
    assert memory.get("ada") == ()
