"""What people look at: pictures and a page, whatever users and models wrote."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from amulet_evals import Evaluation, evaluate, report
from amulet_evals.run.journal import rows
from support.evaluation_runs import answers

EVIL = '<script src="http://evil/x.js">alert(1)</script> & "quotes" </p>'
QUESTIONS = (EVIL, "What is {{ 7 * 7 }}?", "你好吗？", "Why?")  # noqa: RUF001
STYLES = {"in $ and $": "Be kind <b>now</b>.", "_private": "Be short."}
METHODS = {
    "Base": "base",
    "<i>Pref</i>": "pref",
    "_weak": "amulet:strength=0.5",
    "Amulet_1": "amulet",
    "Capped": "amulet:kl_cap=0.5",
}


def silence(question: str, answer: str, preference: str) -> float:
    """A score of one's own."""
    return -len(answer)


@pytest.fixture(scope="module")
def run(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "asked.json").write_text(json.dumps(QUESTIONS))
    evaluation = Evaluation(
        models=(tiny,),
        load={"dtype": "float32"},
        questions=({"source": str(folder / "asked.json"), "name": "<asked>"},),
        preferences=STYLES,
        methods=METHODS,
        decoding={"max_tokens": 12, "temperature": 1.5},
        samples=2,
        scoring={"functions": [f"{__name__}:silence"]},
        traced=3,
    )
    evaluate(evaluation, folder / "run")
    return folder / "run"


class Page(HTMLParser):
    """What a browser would make of a page."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cards: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if self.open[-2:] == ["article", "p"]:
            self.cards.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "article" in self.open and "p" in self.open:
            self.cards[-1] += data


def test_the_page_stands_alone(run: Path) -> None:
    page = Page(run / "report" / "index.html")
    kinds = {tag for tag, _ in page.tags}
    assert kinds.isdisjoint({"script", "link", "iframe", "object", "embed", "form", "base", "i"})
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "action"):
            assert (attributes.get(name) or "data:image/").startswith("data:image/")
    (policy,) = (each for _, each in page.tags if "http-equiv" in each)
    assert "default-src 'none'" in str(policy["content"])
    (style,) = re.findall(
        r"<style>(.*?)</style>", (run / "report" / "index.html").read_text(), re.S
    )
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style


def test_what_was_written_is_shown_as_it_is(run: Path) -> None:
    page = Page(run / "report" / "index.html")
    for text in (*QUESTIONS[:3], *STYLES, *STYLES.values(), *METHODS, "<asked>"):
        assert text in page.text
    assert QUESTIONS[3] not in page.text.split("Answers")[1]  # not among those traced


def test_answers_are_side_by_side_and_whole(run: Path) -> None:
    page = Page(run / "report" / "index.html")
    traced = {row["key"] for row in rows(run / "traces.jsonl")}
    shown = [row for row in answers(run) if row["key"] in traced and row["sample"] == 0]
    bases = [row for row in shown if row["preference"] is None]
    expected = [row["text"] for row in (*shown, *bases)]  # the base prompt's answer per style
    assert sorted(page.cards) == sorted(text.replace("\r", "\n") for text in expected)
    spans = [each for tag, each in page.tags if tag == "span" and "title" in each]
    assert spans
    assert all(str(span["title"]).endswith(")") and "(x" in str(span["title"]) for span in spans)


def test_pictures_are_files_and_in_the_page(run: Path) -> None:
    plots = run / "report" / "plots"
    drawings = sorted(plots.glob("*.svg"))
    assert [path.stem for path in drawings] == sorted(path.stem for path in plots.glob("*.png"))
    assert len(drawings) == 5  # bars and trade-offs of style and of echoes, and KL per token
    images = [str(each["src"]) for tag, each in Page(run / "report" / "index.html").tags
              if tag == "img"]  # fmt: skip
    embedded = [base64.b64decode(src.partition(",")[2]) for src in images]
    assert embedded == [path.read_bytes() for path in drawings]
    texts = ["".join(ElementTree.fromstring(svg).itertext()) for svg in embedded]
    bars, trade_off, echo_bars, echo_trade_off, moved = texts
    for name in (*STYLES, *METHODS):
        assert name in bars and name in echo_bars
    for family in ("Base", "<i>Pref</i>", "amulet", "Capped"):
        assert family in trade_off and family in echo_trade_off
    assert "Amulet_1" in moved
    assert "Base" not in moved  # which nothing moves


def test_the_same_run_has_the_same_report_to_the_byte(run: Path) -> None:
    def files() -> dict[str, bytes]:
        found = (path for path in (run / "report").rglob("*") if path.suffix != ".png")
        return {path.name: path.read_bytes() for path in found if path.is_file()}

    before = files()
    report(run)
    assert files() == before


def test_no_picture_is_left_of_an_earlier_report(run: Path) -> None:
    plots = run / "report" / "plots"
    before = {path.name for path in plots.iterdir()}
    for name in ("07-win-rate.svg", "07-win-rate.png"):
        (plots / name).write_bytes(b"old")
    report(run)
    assert {path.name for path in plots.iterdir()} == before
