"""Some methods look at several whole answers, and give the best one."""

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel

from langchain_amulet import ChatAmulet, Preference
from langchain_amulet.errors import (
    ConfigurationError,
    GenerationError,
    RequestError,
)
from langchain_amulet.methods import (
    Amulet,
    BeamSearch,
    BestOf,
    Candidate,
    Guidance,
    GuidedReranking,
    Method,
    Pref,
    SearchPlan,
)
from langchain_amulet.steering import Plan
from support.engines import engine_of, wait_until_idle
from support.searches import SHORT, sampling, searched
from support.ways import DIRECT, INSIDE, QUESTION, Way


@pytest.fixture(scope="module")
def llm() -> Iterator[ChatAmulet]:
    with sampling() as model:
        yield model


class Longest:
    """A scorer that likes long answers, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, messages: Sequence[BaseMessage], answer: AIMessage) -> int:
        self.asked.append((messages[-1].text, answer.text))
        return len(answer.text)


@dataclass(frozen=True)
class Steadiest(Method):
    """A search of one's own: the sample whose steering moved its tokens the least."""

    name: ClassVar[str] = "steadiest"
    n: int = 3
    trace: bool = True

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        return Amulet(strength=1.0, plausibility=0.0).plan(preferences)

    def search(self) -> SearchPlan:
        return SearchPlan(self.n, steadiness, trace=self.trace)


def steadiness(candidates: Sequence[Candidate]) -> Iterator[float]:
    for each in candidates:
        assert len(each.token_ids) == len(each.pref) == len(each.base)
        moved = (steered - pref for steered, pref in zip(each.steered, each.pref, strict=True))
        yield -math.fsum(map(abs, moved))


# --- Best of several samples -------------------------------------------------


def test_the_sample_that_the_scorer_likes_best_is_given(llm: ChatAmulet) -> None:
    scorer = Longest()
    answer = llm.invoke(QUESTION, method=BestOf(6, scorer=scorer))
    assert [question for question, _ in scorer.asked] == [QUESTION] * 6
    texts = [text for _, text in scorer.asked]
    assert len(set(texts)) > 1
    assert answer.text == max(texts, key=len)
    search = searched(answer)
    assert search["n"] == 6
    assert search["scores"] == [len(text) for text in texts]
    assert search["chosen"] == texts.index(answer.text)


def test_the_best_of_one_is_the_ordinary_answer(llm: ChatAmulet) -> None:
    for method in (Pref(), Amulet()):
        plain = llm.invoke(QUESTION, method=method)
        assert llm.invoke(QUESTION, method=BestOf(1, scorer=Longest(), method=method)).text == (
            plain.text
        )


def test_more_samples_begin_with_those_of_fewer(llm: ChatAmulet) -> None:
    few, many = Longest(), Longest()
    llm.invoke(QUESTION, method=BestOf(3, scorer=few))
    llm.invoke(QUESTION, method=BestOf(7, scorer=many))
    assert many.asked[:3] == few.asked


def test_without_a_seed_samples_differ_too(llm: ChatAmulet) -> None:
    scorer = Longest()
    llm.invoke(QUESTION, method=BestOf(8, scorer=scorer), seed=None, temperature=2.0)
    assert len(set(scorer.asked)) > 1


def test_all_samples_share_one_prefill_and_are_counted(llm: ChatAmulet) -> None:
    stats = [engine_of(llm).stats()]
    plain = llm.invoke(QUESTION, method=Pref())
    stats.append(engine_of(llm).stats())
    answer = llm.invoke(QUESTION, method=BestOf(8, scorer=Longest()))
    stats.append(engine_of(llm).stats())
    once, all_samples = (b.prefill_tokens - a.prefill_tokens for a, b in pairwise(stats))
    assert all_samples == once
    assert stats[2].admitted - stats[1].admitted == 8
    assert answer.usage_metadata and plain.usage_metadata
    usage = answer.usage_metadata
    assert usage["input_tokens"] == plain.usage_metadata["input_tokens"]
    assert usage["output_tokens"] > 4 * plain.usage_metadata["output_tokens"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    longest = llm.get_token_ids(answer.text)
    assert usage["output_token_details"] == {"answer": len(longest)}  # type: ignore[comparison-overlap]


def test_a_scorer_that_asks_for_preferences_is_told_those_that_count(llm: ChatAmulet) -> None:
    told: list[list[str]] = []

    def scorer(messages: Sequence[BaseMessage], answer: AIMessage, preferences: list[str]) -> float:
        told.append(preferences)
        return 0.0

    wishes = ["Keep it short.", Preference("Use a formal tone.", weight=0)]
    llm.invoke(QUESTION, method=BestOf(2, scorer=scorer), preference=wishes)
    llm.invoke(QUESTION, method=BestOf(1, scorer=scorer), preference=None)
    assert told == [["Keep it short."], ["Keep it short."], []]


def test_a_runnable_can_be_the_scorer(llm: ChatAmulet) -> None:
    scorer = Longest()
    expected = llm.invoke(QUESTION, method=BestOf(4, scorer=scorer))

    def score(asked: dict[str, Any]) -> float:
        return scorer(asked["messages"], asked["answer"])

    async def ascore(asked: dict[str, Any]) -> float:
        return score(asked)

    method = BestOf(4, scorer=RunnableLambda(score, ascore))
    assert llm.invoke(QUESTION, method=method).content == expected.content
    assert asyncio.run(llm.ainvoke(QUESTION, method=method)).content == expected.content


@pytest.mark.parametrize("way", {**DIRECT, **INSIDE}.values(), ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(BestOf(3, scorer=Longest()), marks=pytest.mark.exhaustive),
        GuidedReranking(3),
        pytest.param(Steadiest(), marks=pytest.mark.exhaustive),
        pytest.param(BeamSearch(3), marks=pytest.mark.exhaustive),
    ],
    ids=lambda method: str(method.name),
)
def test_every_way_of_calling_gives_the_same_answer(
    way: Way, method: Method, llm: ChatAmulet
) -> None:
    searching = llm.model_copy(update={"method": method, "max_tokens": 20})
    assert way(searching, QUESTION) == searching.invoke(QUESTION).text


def test_a_cache_never_takes_one_scorer_for_another(llm: ChatAmulet) -> None:
    caching = llm.model_copy(update={"cache": InMemoryCache()})
    for sign in (1, -1, 1, -1):  # each function is gone before the next one is made
        method = BestOf(4, scorer=lambda messages, answer, sign=sign: sign * len(answer.text))
        answer = caching.invoke(QUESTION, method=method)
        assert answer.text == llm.invoke(QUESTION, method=method).text


def test_streaming_waits_for_the_choice(llm: ChatAmulet) -> None:
    scorer = Longest()
    for _ in llm.stream(QUESTION, method=BestOf(3, scorer=scorer)):
        assert len(scorer.asked) == 3


def test_samples_under_a_grammar_are_all_valid(llm: ChatAmulet) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    calls: list[Any] = []

    def score(messages: Sequence[BaseMessage], answer: AIMessage) -> float:
        calls.append(answer.tool_calls[0])
        return float(answer.tool_calls[0]["args"]["a"])

    method = BestOf(4, scorer=score)
    bound = llm.bind_tools([add], tool_choice="any", method=method)
    answer = bound.invoke("What is 12 and 30?", max_tokens=200, temperature=4.0)
    assert answer.tool_calls[0]["args"]["a"] == max(call["args"]["a"] for call in calls)
    assert {call["name"] for call in calls} == {"add"}
    assert len({str(call["args"]) for call in calls}) > 1


def test_structured_answers_can_be_chosen_among(llm: ChatAmulet) -> None:
    class Person(BaseModel):
        name: str
        age: int

    def older(messages: Sequence[BaseMessage], answer: AIMessage) -> float:
        return float(Person.model_validate_json(answer.text).age)

    searching = llm.model_copy(update={"method": BestOf(3, scorer=older)})
    structured = searching.with_structured_output(Person, method="json_schema", include_raw=True)
    made = structured.invoke("Give me the name Anna and the age 41 as JSON.")
    assert made["parsed"].age == max(searched(made["raw"])["scores"])


def test_a_stop_string_ends_each_sample(llm: ChatAmulet) -> None:
    scorer = Longest()
    llm.invoke(QUESTION, method=BestOf(4, scorer=scorer), stop=["."])
    assert all("." not in text for _, text in scorer.asked)


def test_samples_must_be_able_to_differ(llm: ChatAmulet) -> None:
    for method in (BestOf(2, scorer=Longest()), GuidedReranking(2)):
        with pytest.raises(RequestError, match="temperature"):
            llm.invoke(QUESTION, method=method, temperature=0.0)


@pytest.mark.parametrize("score", [math.nan, "good", None])
def test_a_score_must_be_a_number(llm: ChatAmulet, score: Any) -> None:
    with pytest.raises(GenerationError, match="number for each answer"):
        llm.invoke(QUESTION, method=BestOf(2, scorer=lambda messages, answer: score))


def test_an_answer_that_must_not_be_given_isn_t_even_if_there_is_no_other(llm: ChatAmulet) -> None:
    scores = iter((-math.inf, -1.0, -math.inf, -math.inf))
    method = BestOf(2, scorer=lambda messages, answer: next(scores))
    assert llm.invoke(QUESTION, method=method).response_metadata["search"]["chosen"] == 1
    with pytest.raises(GenerationError, match="scored each of 2 with -inf"):
        llm.invoke(QUESTION, method=method)


def test_what_a_scorer_raises_is_raised_and_leaves_no_rows(llm: ChatAmulet) -> None:
    def fail(messages: Sequence[BaseMessage], answer: AIMessage) -> float:
        raise LookupError("no such reward")

    with pytest.raises(LookupError, match="no such reward"):
        llm.invoke(QUESTION, method=BestOf(2, scorer=fail))
    assert engine_of(llm).stats().rows == 0


async def test_a_cancelled_search_frees_all_its_rows(llm: ChatAmulet) -> None:
    method = BestOf(8, scorer=Longest(), method=Amulet())
    task = asyncio.create_task(llm.ainvoke(QUESTION, method=method, max_tokens=1900))
    while not engine_of(llm).stats().rows:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until_idle(llm)


def test_the_samples_method_may_be_given_by_its_name() -> None:
    scorer = Longest()
    assert BestOf(2, scorer=scorer, method="strong") == BestOf(
        2, scorer=scorer, method=Amulet(strength="strong")
    )


# --- Searches of one's own ---------------------------------------------------


def test_a_search_of_one_s_own_ranks_samples_as_it_likes(llm: ChatAmulet) -> None:
    # Long enough for whole answers, so that scoring them anew reads the same tokens.
    answer = llm.invoke(QUESTION, method=Steadiest(5), max_tokens=300, temperature=0.7)
    search = searched(answer)
    assert search["n"] == len(set(search["scores"])) == 5
    assert search["scores"][search["chosen"]] == max(search["scores"])
    told = llm.score(QUESTION, answer, method=Steadiest(5))
    moved = (steered - pref for steered, pref in zip(told.steered, told.pref, strict=True))
    assert max(search["scores"]) == pytest.approx(-math.fsum(map(abs, moved)), abs=1e-3)
    assert answer.response_metadata["method"] == "steadiest"
    assert answer.response_metadata["strength"] == 1.0
    assert "trace" not in answer.response_metadata


def test_a_ranking_may_wait_in_its_own_two_ways(llm: ChatAmulet) -> None:
    class Waiting:
        """Ranks by length, and remembers in which way it was asked."""

        def __init__(self) -> None:
            self.asked: list[str] = []

        def scores(self, candidates: Sequence[Candidate]) -> list[int]:
            self.asked.append("scores")
            return [len(each.message.text) for each in candidates]

        async def ascores(self, candidates: Sequence[Candidate]) -> list[int]:
            self.asked.append("ascores")
            await asyncio.sleep(0)
            return [len(each.message.text) for each in candidates]

    ranking = Waiting()

    @dataclass(frozen=True)
    class Patient(Steadiest):
        name: ClassVar[str] = "patient"

        def search(self) -> SearchPlan:
            return SearchPlan(self.n, ranking)

    expected = llm.invoke(QUESTION, method=Patient())
    assert asyncio.run(llm.ainvoke(QUESTION, method=Patient())).content == expected.content
    assert ranking.asked == ["scores", "ascores"]


def test_probabilities_that_a_search_didn_t_ask_for_are_refused(llm: ChatAmulet) -> None:
    with pytest.raises(ConfigurationError, match=r"trace=True.*SearchPlan\(..., trace=True\)"):
        llm.invoke(QUESTION, method=Steadiest(trace=False))


def test_a_ranking_must_give_a_number_for_each_answer(llm: ChatAmulet) -> None:
    @dataclass(frozen=True)
    class Forgetful(Steadiest):
        name: ClassVar[str] = "forgetful"

        def search(self) -> SearchPlan:
            return SearchPlan(self.n, lambda candidates: [0.0])

    with pytest.raises(GenerationError, match="a number for each of 3 answers, but gave 1"):
        llm.invoke(QUESTION, method=Forgetful())


def test_a_search_that_is_none_is_refused(llm: ChatAmulet) -> None:
    @dataclass(frozen=True)
    class Odd(Steadiest):
        name: ClassVar[str] = "odd"

        def search(self) -> Any:
            return 3

    with pytest.raises(ConfigurationError, match=r"search\(\) must return .* 'odd' gave int"):
        llm.invoke(QUESTION, method=Odd())


# --- What makes no sense -----------------------------------------------------


def test_searches_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="n must be"):
        GuidedReranking(0)
    with pytest.raises(ConfigurationError, match="a search itself"):
        BestOf(2, scorer=Longest(), method=GuidedReranking(2))
    with pytest.raises(ConfigurationError, match="scorer must be"):
        BestOf(2, scorer="reward")
    with pytest.raises(ConfigurationError, match=r"scorer must be a function .*not None"):
        BestOf(2)
    with pytest.raises(ConfigurationError, match=r"are \(answer\): write it as def scorer"):
        BestOf(2, scorer=lambda answer: 0.0)
    with pytest.raises(ConfigurationError, match=r"are \(messages, preferences\)"):
        BestOf(2, scorer=lambda messages, preferences: 0.0)
    with pytest.raises(ConfigurationError, match=r"method must be one of .*not 'amulett'"):
        BestOf(2, scorer=Longest(), method="amulett")
    with pytest.raises(ConfigurationError, match="prompt must be"):
        GuidedReranking(2, prompt="both")  # type: ignore[arg-type]


# --- Guided reranking --------------------------------------------------------


@pytest.mark.parametrize("prompt", ["pref", "base"])
def test_the_rank_is_the_answer_s_own_guided_likelihood(llm: ChatAmulet, prompt: Any) -> None:
    method = GuidedReranking(6, strength="strong", prompt=prompt)
    answer = llm.invoke(QUESTION, method=method, **SHORT)
    search = searched(answer)
    score = llm.score(QUESTION, answer, **SHORT)
    expected = score.pref_total + 2.0 * (score.pref_total - score.base_total)
    assert search["scores"][search["chosen"]] == pytest.approx(expected, abs=1e-3)
    assert search["scores"][search["chosen"]] == max(search["scores"])
    assert len(set(search["scores"])) > 1


def test_reranking_at_zero_is_by_the_prompt_s_own_likelihood(llm: ChatAmulet) -> None:
    # Not so hot that a word is written in other tokens than those in which it is read.
    texts, whole = Longest(), {**SHORT, "max_tokens": 300, "temperature": 0.7}
    llm.invoke(QUESTION, method=BestOf(6, scorer=texts), **whole)
    answer = llm.invoke(QUESTION, method=GuidedReranking(6, strength=0.0), **whole)
    likelihoods = [llm.score(QUESTION, text, **SHORT).pref_total for _, text in texts.asked]
    assert searched(answer)["scores"] == pytest.approx(likelihoods, abs=1e-3)


def test_reranking_needs_no_preference(llm: ChatAmulet) -> None:
    answer = llm.invoke(QUESTION, method=GuidedReranking(3), preference=None)
    assert searched(answer)["n"] == 3


def test_a_trace_is_shown_only_if_asked_for(llm: ChatAmulet) -> None:
    method = GuidedReranking(2)
    assert "trace" not in llm.invoke(QUESTION, method=method).response_metadata
    assert "trace" in llm.invoke(QUESTION, method=method, trace=True).response_metadata
