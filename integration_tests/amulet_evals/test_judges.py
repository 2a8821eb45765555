"""A chat model as judge: both orders, failures, and what the tables say of it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableLambda

from amulet_evals import Scoring, evaluate
from amulet_evals.reporting.report import failures
from amulet_evals.run.grid import Task
from amulet_evals.run.journal import rows
from amulet_evals.run.records import AnswerRecord
from amulet_evals.scorers.judge import JudgeScorer, Verdict, make_judge, prompt
from amulet_evals.scorers.scoring import ScorableAnswer
from langchain_amulet import ChatAmulet
from langchain_amulet.errors import ConfigurationError
from support.evaluation import answer
from support.evaluation_runs import cells, small
from support.judges import ANSWERS, Scripted, fair, longer


def fails_on_short(first: str, second: str) -> str:
    if min(len(first), len(second)) < 3:
        raise RuntimeError("The service is down.")
    return longer(first, second)


def always_fails(first: str, second: str) -> str:
    raise RuntimeError("The service is down.")


down = Scripted(rule=always_fails)
lazy = Scripted(rule=lambda first, second: "first")
broken = Scripted(rule=fails_on_short)
babbling = Scripted(rule=lambda first, second: "the one on the left")


def samples(*pairs: tuple[str, str]) -> list[ScorableAnswer]:
    def answered(text: str, method: str, at: int) -> AnswerRecord:
        task = Task("m", method, f"Question {at}?", "Be kind.")
        return answer(text, task)

    return [
        ScorableAnswer(
            f"Question {at}?",
            answered(own, "amulet", at),
            "Be kind.",
            answered(baseline, "pref", at),
        )
        for at, (own, baseline) in enumerate(pairs)
    ]


def judged(judge: str, *pairs: tuple[str, str]) -> dict[str, dict[str, float | None]]:
    scorer = JudgeScorer(f"{__name__}:{judge}", "pref", concurrency=4)
    found = list(scorer.score(samples(*pairs)))
    assert len(found) == len(pairs)
    return {score.item.answer.text: dict(score.values) for score in found}


def test_a_fair_judge_s_verdict_is_the_same_in_both_orders() -> None:
    found = judged("fair", ("longest of them", "short"), ("s", "longer"), ("same", "size"))
    assert found == {
        "longest of them": {"win_rate": 1.0, "wins": 1.0, "ties": 0.0, "losses": 0.0},
        "s": {"win_rate": 0.0, "wins": 0.0, "ties": 0.0, "losses": 1.0},
        "same": {"win_rate": 0.5, "wins": 0.0, "ties": 1.0, "losses": 0.0},
    }


def test_a_judge_who_likes_whatever_comes_first_finds_only_ties() -> None:
    found = judged("lazy", *((f"own {at}", f"other {at}") for at in range(20)))
    assert all(values["ties"] == 1.0 for values in found.values())


def test_a_judge_s_failures_are_scores_with_an_error_and_the_others_stay() -> None:
    scorer = JudgeScorer(f"{__name__}:broken", "pref", concurrency=2)
    found = {s.item.answer.text: s for s in scorer.score(samples(("a", "bbbb"), ("ccccc", "dddd")))}
    assert found["a"].values == {}
    assert "The service is down." in str(found["a"].error)
    assert found["ccccc"].values["wins"] == 1.0


def test_a_judge_that_gives_no_verdict_fails_too() -> None:
    scorer = JudgeScorer(f"{__name__}:babbling", "pref", concurrency=2)
    (score,) = scorer.score(samples(("a", "b")))
    assert score.values == {}
    assert str(score.error).startswith("The judge failed")


def test_the_judge_sees_question_preference_and_both_answers_in_either_order() -> None:
    (sample,) = samples(("mine {x}", "the other's"))
    straight, swapped = (prompt(sample, order)[-1].text for order in (False, True))
    assert ANSWERS.findall(straight) == ["mine {x}", "the other's"]
    assert ANSWERS.findall(swapped) == ["the other's", "mine {x}"]
    assert all("Question 0?" in text and "Be kind." in text for text in (straight, swapped))


def test_which_order_is_asked_first_is_random_and_always_the_same() -> None:
    seen: list[list[str]] = []

    class Noting:
        def with_structured_output(self, schema: type) -> Runnable[Any, Any]:
            def verdict(messages: list[BaseMessage]) -> Verdict:
                seen.append(ANSWERS.findall(messages[-1].text))
                return Verdict(reason="", better="neither")

            return RunnableLambda(verdict)

    orders = []
    for _ in range(2):
        seen.clear()
        scorer = JudgeScorer(f"{__name__}:fair", "pref", concurrency=1)
        scorer._judge = Noting().with_structured_output(Verdict)
        list(scorer.score(samples(*((f"own {at}", f"other {at}") for at in range(40)))))
        orders.append([first.startswith("own") for first, _ in seen[::2]])
    assert orders[0] == orders[1]
    assert 8 < sum(orders[0]) < 32


@pytest.mark.parametrize(
    ("judge", "rule"),
    [
        ("gpt", "init_chat_model"),
        ("nobody:gpt", "init_chat_model"),
        ("no_such.module:judge", "must be importable"),
        (f"{__name__}:ANSWERS", "must be a LangChain chat model, but .* is Pattern"),
        (f"{__name__}:speechless", "structured output"),
    ],
)
def test_what_is_no_judge_is_refused(judge: str, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        JudgeScorer(judge, "pref", concurrency=1)


speechless = FakeListChatModel(responses=["Well..."])


def test_a_service_that_can_t_be_used_is_refused_whatever_it_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class ServiceError(Exception):
        """What a provider's package raises where its service has no key."""

    def init_chat_model(name: str) -> BaseChatModel:
        raise ServiceError("The api_key option must be set.")

    monkeypatch.setattr("langchain.chat_models.init_chat_model", init_chat_model)
    with pytest.raises(ConfigurationError, match=r"'openai:gpt' must be .* api_key option"):
        make_judge("openai:gpt")


def test_a_judge_may_be_made_by_a_function() -> None:
    assert make_judge("support.judges:make_fair") is fair


def test_a_judge_may_lie_in_a_module_of_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from support.judges import fair, make_fair\n"
    (tmp_path / "flat_judges.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    assert make_judge("flat_judges:fair") is make_judge("flat_judges:make_fair") is fair
    with pytest.raises(ConfigurationError, match="importable from the folder one works in"):
        make_judge("flat_judges:unfair")


def test_a_judge_that_can_not_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_judges.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    with pytest.raises(ConfigurationError, match=r"'json:dumps' must give .* raised TypeError"):
        make_judge("json:dumps")
    with pytest.raises(ConfigurationError, match="its module raised ZeroDivisionError"):
        make_judge("broken_judges:fair")


def test_a_provider_s_own_package_isn_t_taken_for_a_module_of_one_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some_provider.py").write_text("client = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("langchain.chat_models.init_chat_model", lambda name: fair)
    assert make_judge("some_provider:model-1") is fair


def test_two_judges_of_a_run_are_told_apart_in_its_tables(tiny: str, tmp_path: Path) -> None:
    for name in ("fair", "lazy"):
        scoring = Scoring(judge=f"{__name__}:{name}", attributes=False)
        place = evaluate(small(tiny, tmp_path, count=1, scoring=scoring), tmp_path / "run")
        alone = "| win rate against Pref |" in (place / "tables.md").read_text()
        assert alone == (name == "fair")
    (shown,) = re.findall(r"\| method \| win rate.*", (place / "tables.md").read_text())[:1]
    titles = [title.replace("\\", "") for title in shown.split(" | ")[1:]]
    assert len(set(titles)) == len(titles)
    for name in ("fair", "lazy"):
        assert f"win rate against Pref ({__name__}:{name})" in titles


def test_win_rates_are_in_the_report_and_failures_are_counted_and_tried_again(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(mood: BaseChatModel) -> Path:
        monkeypatch.setitem(globals(), "moody", mood)
        scoring = Scoring(judge=f"{__name__}:moody", attributes=False)
        return evaluate(small(tiny, tmp_path, scoring=scoring), tmp_path / "run")

    place = judge(down)
    for name in ("tables.md", "index.html"):
        assert f"{3 * 5 * 2} scores failed" in (place / name).read_text()
    (line,) = failures(tmp_path / "run")
    assert line.startswith(f"30 of 30 scores by {__name__}:moody against Pref failed.")
    assert "The service is down. All are in scores.jsonl" in line
    judge(fair)
    lines = cells(place, "win_rate")
    by_method = {line["method"]: line for line in lines if line["column"] == "mean"}
    assert by_method["Pref"]["mean"] == ""
    shares = [cells(place, name)[-1]["mean"] for name in ("wins", "ties", "losses")]
    assert sum(map(float, shares)) == pytest.approx(1.0)
    win_rate = float(by_method["Capped"]["mean"])
    assert win_rate == pytest.approx(float(shares[0]) + float(shares[1]) / 2)
    assert by_method["Capped"]["difference_low"] != ""
    assert "failed" not in (place / "tables.md").read_text()
    assert failures(tmp_path / "run") == []
    verdicts = list(rows(tmp_path / "run" / "scores.jsonl"))
    assert ["error" in row for row in verdicts] == [True] * 30 + [False] * 30


@pytest.fixture(scope="module")
def pocket() -> Iterator[ChatAmulet]:
    with ChatAmulet(model="pocket", temperature=0.0, max_tokens=200) as llm:
        yield llm


def test_a_local_chat_model_can_be_the_judge(
    pocket: ChatAmulet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "local", pocket)
    found = judged("local", ("Maintain a consistent bedtime.", "I do not know."))
    (values,) = found.values()
    assert set(values) == {"win_rate", "wins", "ties", "losses"}
