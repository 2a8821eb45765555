"""What a call may name: traits with more and less, styles as models, methods on a list."""

import pytest

from amulet_server import read_settings
from amulet_server.styles import StyleRegistry
from langchain_amulet.errors import ConfigurationError, PreferenceError
from langchain_amulet.methods import Amulet, resolve_strength
from langchain_amulet.preferences import Preference


def registry(**settings: object) -> StyleRegistry:
    return StyleRegistry.of(read_settings(**settings))


def test_traits_are_preferences_with_more_or_less_of_each() -> None:
    found = registry().preferences("Concise +, formal --, uplifting")
    assert found == (
        Preference("Keep it short.", strength="balanced"),
        Preference("Please use a formal tone.", strength=-3.0),
        Preference("Be uplifting."),
    )


@pytest.mark.parametrize("more, less", [("+", "-"), ("++", "--")])
def test_less_pushes_away_and_more_of_a_degree_pushes_further(more: str, less: str) -> None:
    found = {sign: registry().preferences(f"formal {sign}")[0].strength for sign in (more, less)}
    assert resolve_strength(found[more] or 0) > 0
    assert resolve_strength(found[less] or 0) < -1


@pytest.mark.parametrize(
    "text", ["Be brief, formal +", "formal +++", "concise +5", "formal -, funny +", "polite --"]
)
def test_what_is_meant_for_traits_and_isn_t_all_traits_is_refused(text: str) -> None:
    with pytest.raises(PreferenceError, match="must be concise, creative") as refused:
        registry().preferences(text)
    assert text not in str(refused.value)


@pytest.mark.parametrize("text", ["Be brief, formal", "formal + concise", "Write C++, not Java."])
def test_a_text_that_isn_t_made_of_traits_alone_is_a_preference_as_it_stands(text: str) -> None:
    assert registry().preferences(text) == (Preference(text),)


def test_an_empty_text_is_no_preference() -> None:
    assert registry().preferences("  ") == ()


def test_each_style_and_each_trait_is_a_model() -> None:
    styles = {"work": {"traits": "formal +, concise ++", "method": "strong"}}
    found = registry(traits={"formal": "Be formal.", "concise": "Be brief."}, styles=styles)
    assert found.models == ("pocket", "pocket@formal", "pocket@concise", "pocket@work")
    assert found.style_of("pocket") is None
    style = found.style_of("pocket@work")
    assert style is not None
    assert style.method == Amulet(strength="strong")
    assert [each.text for each in style.preference] == ["Be formal.", "Be brief."]


@pytest.mark.parametrize("name", ["other", "other@formal", "pocket@", "pocket@nothing", "@formal"])
def test_a_model_that_there_isn_t_is_unknown(name: str) -> None:
    with pytest.raises(KeyError):
        registry().style_of(name)


def test_a_style_of_a_trait_that_there_isn_t_is_refused_when_a_server_starts() -> None:
    with pytest.raises(ConfigurationError, match="'work' must be made of traits"):
        registry(styles={"work": {"traits": "polite +"}})


@pytest.mark.parametrize("value", ["strong", 1.5, "0.5", "pref", "amulet:kl_cap=0.5"])
def test_calls_may_ask_for_strengths_and_for_methods_on_the_list(value: str | float) -> None:
    registry().method(value)


@pytest.mark.parametrize(
    "value", ["pad:model=./reward", "proxy_tuning", "beam_search", "os:system"]
)
def test_calls_may_not_load_models_decode_many_answers_or_name_code(value: str) -> None:
    with pytest.raises(ConfigurationError):
        registry().method(value)


def test_a_program_may_allow_a_method_that_isn_t_on_the_list() -> None:
    assert registry(methods=["beam_search"]).method("beam_search").name == "beam_search"


def test_a_trait_must_be_a_preference() -> None:
    with pytest.raises(PreferenceError):
        registry(traits={"empty": " "})


def test_only_methods_that_there_are_may_be_asked_for() -> None:
    with pytest.raises(ConfigurationError, match="'amulett' isn't"):
        registry(methods=("pref", "amulett"))
