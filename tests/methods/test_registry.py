"""Methods as one types them."""

import inspect
from pathlib import Path

import pytest

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods import (
    METHODS,
    PAD,
    STRENGTHS,
    Amulet,
    Base,
    Drift,
    Iterated,
    LinearAlignment,
    Pref,
    as_method,
    spell,
)


@pytest.mark.parametrize(
    ("typed", "method"),
    [
        ("base", Base()),
        ("pref", Pref()),
        ("amulet", Amulet()),
        ("amulet:strength=balanced", Amulet(strength="balanced")),
        ("amulet:kl_cap=0.5", Amulet(kl_cap=0.5)),
        ("amulet: kl_cap = 0.5 , plausibility=0", Amulet(kl_cap=0.5, plausibility=0)),
        ("amulet:kl_cap=null", Amulet()),
        ("linear_alignment:ratio=3,top_p=0.8", LinearAlignment(3, top_p=0.8)),
        ("drift:weights=[0.5,-1],beta=2", Drift((0.5, -1), 2)),
        ("pad:model=./a folder/rm", PAD("./a folder/rm")),
        ("pad:model=C:\\models=rm,per_dimension=true", PAD("C:\\models=rm", per_dimension=True)),
    ],
)
def test_a_method_is_typed_as_its_name_and_what_differs_from_its_own(typed, method):
    assert as_method(typed) == method


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (Base(), "base"),
        (Amulet(), "amulet"),
        (Amulet(strength="balanced"), "amulet:strength=1.0"),
        (Amulet(updates=3), "amulet:updates=3"),
        (Amulet.paper(), "amulet:plausibility=0.0"),
        (LinearAlignment(3, top_p=0.8), "linear_alignment:ratio=3,top_p=0.8"),
        (Drift((0.5, -1.0)), "drift:weights=[0.5, -1.0]"),
        (PAD("./a folder/rm", per_dimension=True), "pad:model=./a folder/rm,per_dimension=true"),
        (PAD("7"), 'pad:model="7"'),
        (PAD("a, b", 2), 'pad:model="a, b",weight=2'),
    ],
)
def test_a_method_is_spelled_as_shortly_as_it_can_be_typed(method, text):
    assert spell(method) == text
    assert as_method(text) == method


def test_what_has_no_text_is_shown_at_least():
    assert "function spell at" in spell(Iterated(spell))


@pytest.mark.parametrize("name", STRENGTHS)
def test_a_strength_s_name_or_number_is_amulet_at_that_strength(name):
    number = STRENGTHS[name]
    assert as_method(name) == as_method(number) == as_method(str(number)) == Amulet(strength=name)


def test_a_method_is_itself():
    method = Amulet(strength=1.5)
    assert as_method(method) is method


@pytest.mark.parametrize(
    ("typed", "rule"),
    [
        ("amulett", "one of amulet, .*strong, .*not 'amulett': did you mean 'amulet'\\? Use one"),
        ("best_of", r"not 'best_of': a scorer has no text, so use BestOf\(n, scorer=...\)"),
        ("bestof:n=4", r"use BestOf\(n, scorer=...\)"),
        ("xyz", "not 'xyz': use one of those"),
        ("amulett:kl_cap=1", "method must be one of"),
        ("nan", "A strength must be a finite number"),
        ("", "method must be one of"),
        ("amulet:", "written name:parameter=value"),
        ("amulet:kl_cap", "has 'kl_cap'"),
        ("amulet:kl_cap=", "has 'kl_cap='"),
        ("amulet:=1", "has '=1'"),
        ("amulet:kl_cap=1,,plausibility=0", "has ''"),
        ("amulet:kl_cap=1,kl_cap=2", "each once"),
        ("amulet:cap=1", "doesn't know 'cap': its parameters are alpha, lam"),
        ("base:strength=1", "doesn't know 'strength': its parameters are none"),
        ("pad", "needs 'model'.*'pad:model=...'"),
        ("pad:weight=1", "needs 'model'"),
        ("amulet:kl_cap=-1", "kl_cap must be finite and at least 0"),
        ("amulet:kl_cap=low", "kl_cap must be finite and at least 0, not 'low'"),
        ("amulet:lam=low", "lam must be finite and above 0, not 'low'"),
        ("amulet:eta=true", "eta must be finite and above 0, not True"),
        ("amulet:alpha=low", "alpha must be finite, not 'low'"),
        ("amulet:plausibility=low", "plausibility must be above 0 and at most 1, not 'low'"),
        ("linear_alignment:top_p=low", "top-p must be between 0 and 1, not 'low'"),
        (
            "drift:weights=2",
            r"a list of numbers, .*not 2: .*Drift\(\(2,\)\) or 'drift:weights=\[2\]'",
        ),
        ("drift:weights=far", r"not 'far': .*'drift:weights=\[0.5, -1\]'"),
        ("linear_alignment:ratio=far", "ratio must be a finite number, not 'far'"),
        ("iterated", r"not 'iterated': a utility has no text, so use Iterated\(utility\)"),
        ("iterated:utility=mine", r"a utility has no text, so use Iterated\(utility\)"),
    ],
)
def test_what_is_no_method_is_refused_with_what_would_be_one(typed, rule):
    with pytest.raises(ConfigurationError, match=rule):
        as_method(typed)


PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
STEERED = sorted(METHODS.keys() - {"base", "pref"})


@pytest.mark.parametrize("name", STEERED)
def test_the_page_on_methods_names_every_parameter_that_can_be_typed(name):
    parameters = PAGE.read_text(encoding="utf-8").partition("## Parameters")[2]
    row = next(line for line in parameters.splitlines() if line.startswith(f"| `{name}`"))
    for parameter in inspect.signature(METHODS[name]).parameters:
        assert f"`{parameter}=" in row


def test_every_method_can_be_typed():
    assert {kind.name for kind in METHODS.values()} == set(METHODS)
    needs = {"pad": "model", "dera": "reference", "proxy_tuning": "expert"}
    for name in METHODS:
        if name in needs:
            with pytest.raises(ConfigurationError, match=f"needs '{needs[name]}'"):
                as_method(name)
        else:
            assert as_method(name) == METHODS[name]()
