"""Which answers an evaluation needs, and what they are called."""

from itertools import product

from amulet_evals.data.questions import Question, QuestionSet
from amulet_evals.data.styles import Style
from amulet_evals.run.grid import Grid, Task, cases, method_note
from langchain_amulet.methods import PAD, Amulet, Base, LinearAlignment, Pref
from langchain_amulet.preferences import Preference

METHODS = {"base": Base(), "pref": Pref(), "amulet": Amulet()}
SETS = (
    QuestionSet("one", (Question("1", "A?"), Question("2", "B?"))),
    QuestionSet("two", (Question("1", "B?"), Question("2", "C?"))),
)
STYLES = (Style("short", ("Be short.",)), Style("kind", ("Be kind.",)))


def grid(samples: int = 1) -> Grid:
    notes = {label: method_note(method) for label, method in METHODS.items()}
    return Grid(("m", "n"), notes, cases(SETS, STYLES, seed=0), samples)


def test_everything_is_asked_of_everything_once():
    tasks = list(grid(samples=3).tasks("m"))
    asked = [("base", None), *product(("pref", "amulet"), ("Be short.", "Be kind."))]
    expected = {
        Task("m", method, question, preference, sample)
        for (method, preference), question, sample in product(asked, ("A?", "B?", "C?"), range(3))
    }
    assert set(tasks) == expected
    assert len(tasks) == len(expected)


def test_the_base_prompt_s_answer_counts_for_every_style():
    whole = grid()
    first, *others = (
        whole.task("m", "base", case) for case in whole.cases if case.question == "A?"
    )
    assert all(other == first for other in others)
    assert first.preference is None


def test_tasks_of_one_method_come_together():
    methods = [task.method for task in grid(samples=2).tasks("m")]
    assert methods == sorted(methods, key=list(METHODS).index)


def test_keys_tell_tasks_apart_and_never_change():
    tasks = [task for model in ("m", "n") for task in grid(samples=2).tasks(model)]
    assert len({task.key for task in tasks}) == len(tasks)
    assert Task("m", "base", "A?", None).key == "324300898f7d4133"
    assert Task("m", "pref", "A?", "Be kind.", 1).key == "6ab425e6bc738a86"


def test_a_style_of_traits_is_told_apart_from_its_words():
    traits, kept = "concise ++, formal -", [Preference.trait("concise", 2)]
    kept += [Preference.trait("formal", -1)]
    words = " ".join(each.text for each in kept)
    styles = (Style("traits", (traits,)), Style("words", (words,)))
    notes = {label: method_note(method) for label, method in METHODS.items()}
    whole = Grid(("m",), notes, cases(SETS[:1], styles, seed=0))
    asked = [whole.task("m", "amulet", case) for case in whole.cases]
    assert {task.preference for task in asked} == {words}
    assert [task.wanted for task in asked] == [tuple(kept)] * 2 + [words] * 2
    assert len({task.key for task in asked}) == 4
    assert whole.task("m", "base", whole.cases[0]).wanted is None


def test_all_methods_and_styles_draw_with_the_same_luck():
    seeds = {(task.question, task.sample): set() for task in grid(samples=2).tasks("m")}
    for task in grid(samples=2).tasks("m"):
        seeds[task.question, task.sample].add(task.seed(5))
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set().union(*seeds.values())) == len(seeds)
    task = Task("m", "pref", "A?", "Be kind.")
    assert task.seed(5) != task.seed(6)
    assert 0 <= task.seed(5) < 2**63


def test_cases_are_found_by_set_and_style_in_the_questions_order():
    assert [case.question for case in grid().of("two", "kind")] == ["B?", "C?"]
    assert grid().sets == ("one", "two")
    assert grid().styles == ("short", "kind")


def test_methods_that_differ_in_one_number_are_a_family():
    families = {}
    for method in (
        *(Amulet(strength=0.5), Amulet(), Amulet(kl_cap=0.5), Amulet.paper(), Base()),
        *(LinearAlignment(3.0), LinearAlignment.original(), PAD("rm")),
    ):
        families.setdefault(method_note(method).family, []).append(method_note(method).parameter)
    assert families == {
        "amulet": [0.5, Amulet().strength],
        "amulet, KL cap": [0.5],
        "amulet, no mask": [Amulet().strength],
        "base": [None],
        "linear_alignment": [3.0],
        "linear_alignment, masked": [3.0],
        "pad": [None],
    }
