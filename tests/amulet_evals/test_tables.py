"""Tables as text: what is bold, what is in brackets, and that every format can be read back."""

import csv
import io
import math
import re

import numpy as np
import pytest

from amulet_evals.reporting.bootstrap import Interval
from amulet_evals.reporting.tables import (
    Cell,
    Table,
    cell,
    compared,
    in_csv,
    latex,
    markdown,
    number,
)

HIGHER = Table(
    title="reward: HelpSteer, Qwen/Qwen2-7B",
    columns=("creative", "concise"),
    rows={
        "pref": (Cell(0.3341, 200), Cell(0.436, 200)),
        "amulet": (
            Cell(0.436, 200, Interval(0.08, 0.12)),
            Cell(0.4339, 200, Interval(-0.01, 0.0)),
        ),
        "beam_search:n=16": (Cell(math.nan, 0), Cell(0.4341, 100, None)),
    },
    better=("higher", "higher"),
)


def fields(line: str) -> list[str]:
    return [field.strip() for field in line.strip().strip("|").split("|")]


def test_markdown_has_methods_down_and_styles_across_and_the_best_in_bold():
    title, _, *lines = markdown(HIGHER).splitlines()
    assert title == "**reward: HelpSteer, Qwen/Qwen2-7B**"
    assert [fields(line) for line in lines] == [
        ["method", "creative", "concise"],
        ["---", "---:", "---:"],
        ["pref", "0.334", "**0.436**"],
        ["amulet", "**0.436** [+0.080, +0.120]", "0.434 [-0.010, +0.000]"],
        [r"beam\_search:n=16", "-", "0.434 n=100"],
    ]


def test_methods_are_held_against_the_baseline_question_by_question():
    numbers = {"pref": [np.array([1.0, 2.0, math.nan])], "amulet": [np.array([2.0, 3.0, 9.0])]}
    found = compared(numbers, "pref")
    assert found["pref"] == (Cell(1.5, 2),)
    assert found["amulet"][0].difference == Interval(1.0, 1.0)
    without = compared({"amulet": numbers["amulet"]}, "pref")
    assert without["amulet"][0].difference is None


def test_a_number_over_fewer_questions_than_others_says_so_in_every_format():
    rows = {"a": (Cell(0.5, 200),), "b": (Cell(0.4, 199, Interval(-0.2, 0.0)),)}
    table = Table("t", ("x",), {**rows, "c": (Cell(math.nan, 0),)}, ("higher",))
    of_markdown, of_latex = (
        [line for line in text.splitlines() if re.match(r"\W*[abc] ", line)]
        for text in (markdown(table), latex(table))
    )
    for a, b, c in (of_markdown, of_latex):
        assert "[-0.200, +0.000] n=199" in b
        assert "n=" not in a + c


def test_the_lowest_is_best_where_lower_is_wanted_and_none_where_it_depends():
    rows = {"a": (Cell(1.0, 9),) * 3, "b": (Cell(2.0, 9),) * 3}
    table = Table("t", ("up", "down", "words"), rows, ("higher", "lower", None))
    a, b = (fields(line)[1:] for line in markdown(table).splitlines()[-2:])
    assert (a, b) == (["1.00", "**1.00**", "1.00"], ["**2.00**", "2.00", "2.00"])


def test_all_that_are_printed_alike_are_best_but_not_if_nothing_is_worse():
    rows = {"a": (Cell(0.5001, 9), Cell(0.1, 9)), "b": (Cell(0.5, 9), Cell(0.1, 9))}
    rows["c"] = (Cell(0.4, 9), Cell(0.1, 9))
    text = markdown(Table("t", ("x", "y"), rows, ("higher", "higher")))
    assert text.count("**0.500**") == 2
    assert "**0.100**" not in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.4361, "0.436"), (-0.05, "-0.050"), (3.14159, "3.14"), (42.123, "42.1"), (1234.5, "1234")],
)
def test_numbers_have_three_digits_or_so(value, shown):
    assert number(value) == shown


def test_csv_has_a_line_per_cell_that_reads_back_exactly():
    text = in_csv([(("m,1", "q"), HIGHER)], ("model", "questions"))
    lines = list(csv.DictReader(io.StringIO(text)))
    assert len(lines) == 6
    assert lines[2] == {
        "model": "m,1",
        "questions": "q",
        "method": "amulet",
        "column": "creative",
        "mean": "0.436",
        "n": "200",
        "difference_low": "0.08",
        "difference_high": "0.12",
    }
    assert lines[4]["mean"] == lines[4]["difference_low"] == ""


def test_latex_is_balanced_and_every_row_has_every_column():
    text = latex(HIGHER)
    assert text.count("{") == text.count("}")
    assert text.count(r"\begin{tabular}{lrr}") == text.count(r"\end{tabular}") == 1
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [line.count("&") for line in rows] == [2, 2, 2, 2]
    assert r"\textbf{0.436} {\tiny [+0.080, +0.120]}" in text
    assert r"beam\_search:n=16" in text


def test_names_can_t_break_out_of_a_table():
    name = "a|b * _c_ [d] <b>\n\\e{f} & 100% #1 $x$ ~ ^ `g`"
    table = Table(name, (name,), {name: (Cell(1.0, 2),)}, (None,))
    for line in markdown(table).splitlines()[2:]:
        assert len(re.findall(r"(?<!\\)\|", line)) == 3
    assert "<" not in re.sub(r"\\<", "", markdown(table))
    text = latex(table)
    bare = re.sub(r"\\[{}&%$#_]", "", text)
    assert bare.count("{") == bare.count("}")
    assert len([line for line in text.splitlines()[1:] if line.count(" & ") == 1]) == 2


def test_a_cell_is_a_mean_and_where_its_paired_difference_lies():
    noise = np.random.default_rng(0).normal(size=50)
    plain = cell(noise + 2.0)
    assert plain == Cell(pytest.approx(noise.mean() + 2.0), 50)
    better = cell(noise + 2.5, (noise + 2.5) - (noise + 2.0))
    assert better.difference == Interval(pytest.approx(0.5), pytest.approx(0.5))


def test_questions_that_one_of_two_lacks_don_t_count_for_their_difference():
    values, baseline = np.array([1.0, 5.0, np.nan, 3.0]), np.array([0.0, np.nan, 9.0, 2.0])
    found = cell(values, values - baseline)
    assert (found.mean, found.count) == (3.0, 3)
    assert found.difference == Interval(1.0, 1.0)


def test_a_cell_without_numbers_is_a_dash():
    empty = cell(np.array([np.nan, np.nan]), np.array([np.nan, np.nan]))
    assert math.isnan(empty.mean)
    assert empty.difference is None
    assert number(empty.mean) == "-"
