"""Examples in the prompt: which answers need them, and what becomes of the method inside."""

import pytest

from amulet_evals.data.questions import Question, QuestionSet
from amulet_evals.data.styles import Example, Style, shown, with_examples
from amulet_evals.in_context import InContext
from amulet_evals.run.grid import Grid, cases, method_note
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods import Amulet, Base, BeamSearch, Guidance, Method, Pref
from langchain_amulet.methods.method import plan_of, search_of

SETS = (QuestionSet("asked", (Question("1", "A?"),)),)
STYLES = (Style("short", ("Be short.",)), Style("kind", ("Be kind.",)))
EXAMPLES = {
    "short": (Example(question="B?", answer="No."), Example(question="C?", answer="Yes.")),
    "kind": (Example(question="B?", answer="Sadly, no."),),
}


def grid(styles: tuple[Style, ...], **methods: Method) -> Grid:
    notes = {label: method_note(method) for label, method in methods.items()}
    return Grid(("m",), notes, cases(SETS, styles, seed=0))


def test_only_methods_that_show_examples_have_them_in_their_tasks() -> None:
    whole = grid(with_examples(STYLES, EXAMPLES), base=Base(), pref=Pref(), shown=InContext())
    found = {(task.method, task.preference) for task in whole.tasks("m")}
    expected = {
        ("base", None),
        *(("pref", style.wordings[0]) for style in STYLES),
        *(("shown", f"{each.wordings[0]}\n\n{shown(EXAMPLES[each.name])}") for each in STYLES),
    }
    assert found == expected


def test_examples_are_shown_as_questions_and_answers_in_their_order() -> None:
    introduction, *blocks = shown(EXAMPLES["short"]).split("\n\n")
    assert blocks == ["Question: B?\nAnswer: No.", "Question: C?\nAnswer: Yes."]
    assert introduction
    assert shown(()) == ""


def test_a_style_without_examples_is_refused_only_where_some_are_to_be_shown() -> None:
    styles = with_examples(STYLES, {"short": EXAMPLES["short"]})
    assert len(list(grid(styles, pref=Pref()).tasks("m"))) == 2
    with pytest.raises(ConfigurationError, match="'kind' has none: put them in examples"):
        list(grid(styles, shown=InContext()).tasks("m"))


def test_a_style_of_traits_is_refused_where_examples_are_to_be_shown() -> None:
    styles = with_examples([Style("formal +", ("formal +",))], {"formal +": EXAMPLES["short"]})
    assert len(list(grid(styles, pref=Pref()).tasks("m"))) == 1
    with pytest.raises(ConfigurationError, match=r"'formal \+' is made of traits: word it"):
        list(grid(styles, shown=InContext()).tasks("m"))


@pytest.mark.parametrize("method", [Pref(), Amulet(), BeamSearch(2)])
def test_the_method_inside_decides_how_to_decode_and_search(method: Method) -> None:
    preferences = (Guidance(),)
    assert plan_of(InContext(method), preferences) == plan_of(method, preferences)
    assert search_of(InContext(method)) == search_of(method)


def test_the_method_inside_may_be_given_as_text_and_is_refused_if_it_is_none() -> None:
    assert InContext("amulet:kl_cap=0.5") == InContext(Amulet(kl_cap=0.5))
    with pytest.raises(ConfigurationError):
        InContext("nonsense")
