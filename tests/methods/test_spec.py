"""Methods as one types them."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods import (
    METHODS,
    PAD,
    STRENGTHS,
    Amulet,
    Base,
    BestOf,
    Drift,
    GuidedReranking,
    Iterated,
    LinearAlignment,
    Method,
    Pref,
    as_method,
    spell,
)
from langchain_amulet.methods.spec import is_strength
from langchain_amulet.registry import import_named
from langchain_amulet.steering import amulet_utility


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
        ("guided_reranking:n=4,strength=strong", GuidedReranking(4, "strong")),
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
        (Amulet(updates=1), "amulet:strength=0.9523809523809523"),
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


def shortest(messages, answer):
    """A scorer of best-of-n."""
    return -len(answer.text)


@dataclass(frozen=True)
class Level(Method):
    """A method that isn't registered."""

    name: ClassVar[str] = "level"
    level: int = 1

    def plan(self, preferences):
        return Pref().plan(preferences)


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (Level(), f"{__name__}:Level"),
        (Level(2), f"{__name__}:Level:level=2"),
        (BestOf(4, scorer=shortest), f"best_of:n=4,scorer={__name__}:shortest"),
        (
            BestOf(scorer=shortest, method=Amulet(strength=1.0, kl_cap=0.5)),
            f'best_of:scorer={__name__}:shortest,method="amulet:strength=1.0,kl_cap=0.5"',
        ),
        (
            Iterated(amulet_utility, 3.0),
            "iterated:utility=langchain_amulet.steering.optimiser:amulet_utility,lam=3.0",
        ),
    ],
)
def test_code_is_named_by_where_it_lies_and_read_again_where_that_is_allowed(method, text):
    assert spell(method) == text
    assert as_method(text, import_named) == method
    with pytest.raises(ConfigurationError, match=r"import it and give its value|name code, which"):
        as_method(text)


def test_what_has_no_text_is_shown_at_least():
    assert "<lambda> at" in spell(Iterated(lambda policy, base: policy))


def test_spelling_neither_makes_nor_plans_a_method():
    made = []

    @dataclass(frozen=True)
    class Counted(Level):
        def __post_init__(self):
            made.append("made")

        def plan(self, preferences):
            made.append("planned")
            return super().plan(preferences)

    method = Counted(3)
    assert spell(method).endswith("Counted:level=3")
    assert made == ["made"]


def test_a_name_that_is_registered_comes_before_a_module_of_that_name():
    with pytest.raises(ConfigurationError, match="has 'kl_cap'"):
        as_method("amulet:kl_cap", import_named)


def test_what_is_loaded_must_be_a_class_of_methods():
    for text in (f"{__name__}:shortest", f"{__name__}:PAGE", f"{__name__}:shortest:n=1"):
        with pytest.raises(ConfigurationError, match="must be a class that is a Method"):
            as_method(text, import_named)


def test_a_method_that_can_not_be_made_is_named_with_what_it_raised():
    @dataclass(frozen=True)
    class Fragile(Level):
        name: ClassVar[str] = "fragile"

        def __post_init__(self):
            raise OSError("disk on fire")

    with pytest.raises(ConfigurationError, match=r"'fragile' must be made .* raised OSError, in"):
        as_method("here:Fragile", lambda path: Fragile)


@dataclass(frozen=True)
class Half(Method):
    """A method that leaves its types to their annotations."""

    name: ClassVar[str] = "half"
    factor: float = 0.5
    place: Path | None = None
    steps: tuple[int, ...] = ()
    prompt: Literal["pref", "base"] = "pref"
    inner: Method | None = None
    exact: bool = False

    def plan(self, preferences):
        return Pref().plan(preferences)


HALF = f"{__name__}:Half"


@pytest.mark.parametrize(
    ("typed", "rule"),
    [
        ("factor=x", "needs factor of type float, not 'x': give one, as in 'half:factor=...'"),
        ("factor=true", "needs factor of type float, not True"),
        ("factor=[1]", r"needs factor of type float, not \[1\]"),
        ("place=3", "needs place of type .*Path.*, not 3"),
        ("steps=[1.5]", r"needs steps of type tuple\[int, ...\], not \[1.5\]"),
        ("prompt=other", "needs prompt of type .*'pref', 'base'.*, not 'other'"),
        ("exact=1", "needs exact of type bool, not 1"),
    ],
)
def test_a_text_s_parameter_is_held_to_the_type_that_its_class_names(typed, rule):
    with pytest.raises(ConfigurationError, match=f"'half' {rule}"):
        as_method(f"{HALF}:{typed}", import_named)


@pytest.mark.parametrize(
    ("typed", "method"),
    [
        ("factor=2", Half(2.0)),
        ("factor=0.25,place=./a/b,exact=true", Half(0.25, "./a/b", exact=True)),
        ("place=null,steps=[1,2],prompt=base", Half(steps=(1, 2), prompt="base")),
        ("inner=pref", Half(inner="pref")),  # a class of no type that pydantic knows
    ],
)
def test_a_text_s_parameter_of_that_type_is_taken_as_it_is(typed, method):
    assert as_method(f"{HALF}:{typed}", import_named) == method


def test_types_that_nobody_can_look_up_are_not_checked():
    @dataclass(frozen=True)
    class Hidden(Half):
        name: ClassVar[str] = "hidden"
        factor: "NoSuchName" = 0.5  # noqa: F821

    assert as_method("here:Hidden:factor=x", lambda path: Hidden).factor == "x"


@pytest.mark.parametrize("name", STRENGTHS)
def test_a_strength_s_name_or_number_is_amulet_at_that_strength(name):
    number = STRENGTHS[name]
    assert as_method(name) == as_method(number) == as_method(str(number)) == Amulet(strength=name)
    assert as_method(f" {name} ") == as_method(f" {number} ") == Amulet(strength=name)


def test_a_method_is_itself():
    method = Amulet(strength=1.5)
    assert as_method(method) is method


@pytest.mark.parametrize(
    ("typed", "rule"),
    [
        ("amulett", "one of amulet, .*strong, .*not 'amulett': did you mean 'amulet'\\? Use one"),
        ("best_of", r"'best_of' needs its scorer, which is code .*: .* BestOf\(scorer="),
        ("best_of:n=2", r"'best_of' needs its scorer, which is code .*: .* BestOf\(scorer="),
        (
            "best_of:n=4,scorer=os:system",
            r"must not name code, .* as its scorer: give it as a value, BestOf\(scorer=...\)",
        ),
        ("bestof:n=4", r"did you mean 'best_of'\? Use one of those"),
        ("os:system", r"not 'os:system': import it .* only config files and command lines"),
        ("os.path:join:a=1", r"import it and give its value, or register it"),
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
        (
            "amulet:plausibility=low",
            "plausibility must be at least 0, .* and at most 1, not 'low'",
        ),
        ("linear_alignment:top_p=low", "top-p must be between 0 and 1, not 'low'"),
        (
            "drift:weights=2",
            r"a list of numbers, .*not 2: .*Drift\(\(2,\)\) or 'drift:weights=\[2\]'",
        ),
        ("drift:weights=far", r"not 'far': .*'drift:weights=\[0.5, -1\]'"),
        ("linear_alignment:ratio=far", "ratio must be a finite number, not 'far'"),
        ("iterated", r"'iterated' needs its utility, .* Iterated\(utility=...\)"),
        ("iterated:utility=mine", r"give it as a value, Iterated\(utility=...\)"),
    ],
)
def test_what_is_no_method_is_refused_with_what_would_be_one(typed, rule):
    with pytest.raises(ConfigurationError, match=rule):
        as_method(typed)


@pytest.mark.parametrize("value", [None, {"lam": 0}, Amulet, [Pref()]], ids=str)
def test_what_is_no_text_number_or_method_is_refused(value):
    with pytest.raises(ConfigurationError, match=r"method must be one of .* a number or a Method"):
        as_method(value)


def test_a_class_is_refused_with_that_an_instance_is_needed():
    with pytest.raises(ConfigurationError, match=r"not <class .*Pref'>: an instance of the class"):
        as_method(Pref)


def test_who_may_name_code_is_told_so_of_a_name_that_is_unknown():
    rule = "did you mean 'amulet'\\? Use one of those, or your own as module:Name"
    with pytest.raises(ConfigurationError, match=rule):
        as_method("amulett", import_named)


PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
OURS = {
    name: kind for name, kind in METHODS.items() if kind.__module__.startswith("langchain_amulet.")
}
STEERED = sorted(OURS.keys() - {"base", "pref"})


@pytest.mark.parametrize("name", STEERED)
def test_the_page_on_methods_names_every_parameter_that_can_be_typed(name):
    parameters = PAGE.read_text(encoding="utf-8").partition("## Parameters")[2]
    row = next(line for line in parameters.splitlines() if line.startswith(f"| `{name}`"))
    for parameter in inspect.signature(OURS[name]).parameters:
        assert f"`{parameter}=" in row


def test_every_method_can_be_typed():
    assert {kind.name for kind in METHODS.values()} == set(METHODS)
    needs = {"pad": "model", "dera": "reference", "proxy_tuning": "expert"}
    code = {"best_of": "scorer", "iterated": "utility"}
    for name in OURS:
        if name in needs:
            with pytest.raises(ConfigurationError, match=f"needs '{needs[name]}'"):
                as_method(name)
        elif name in code:
            with pytest.raises(ConfigurationError, match=f"needs its {code[name]}"):
                as_method(name)
        else:
            assert as_method(name) == OURS[name]()


@pytest.mark.parametrize("value", [1, 0.5, -2.0, "1.5", " strong ", "subtle", "balanced"])
def test_a_strength_by_itself_is_a_number_or_its_name(value: object) -> None:
    assert is_strength(value)


@pytest.mark.parametrize("value", [None, True, "amulet", "pref", "nosuch", Amulet(strength=2.0)])
def test_a_method_is_no_strength_by_itself(value: object) -> None:
    assert not is_strength(value)


@pytest.mark.parametrize("rest", [',"', ",", "[", "a=1,", "9"])
def test_a_text_that_is_far_too_long_is_refused_before_it_is_read(rest):
    """Its commas alone would be looked at for hours, each together with all others."""
    with pytest.raises(ConfigurationError, match="at most 2000 characters, not "):
        as_method("amulet:strength=" + rest * 2_000_000)


def test_lists_in_lists_are_a_text_if_there_are_too_many():
    with pytest.raises(ConfigurationError, match="this text of 1900 characters"):
        as_method("amulet:strength=" + "[" * 1900)
