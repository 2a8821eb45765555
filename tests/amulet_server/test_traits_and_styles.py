"""What a call may name: traits with more and less, styles as models, methods on a list."""

import time

import pytest

from amulet_server import read_settings
from amulet_server.styles import MOST_NAMES, NamedStyle, StyleRegistry
from langchain_amulet.errors import ConfigurationError, PreferenceError
from langchain_amulet.methods import Amulet, Pref
from langchain_amulet.preferences import Preference


def registry(**settings: object) -> StyleRegistry:
    return StyleRegistry.of(read_settings(**settings))


def test_traits_are_preferences_with_more_or_less_of_each() -> None:
    found = registry().wanted("Concise ++, formal -, warm").preference
    assert found == (
        Preference.trait("concise", 2),
        Preference.trait("formal", -1),
        Preference.trait("warm", 1),
    )


def test_less_of_a_trait_that_is_a_text_pushes_away_and_more_of_a_degree_pushes_further() -> None:
    own = registry(traits={"rude": "Be rude."})
    less, much_less, more = (own.wanted(f"rude {sign}").preference[0] for sign in ("-", "--", "+"))
    assert {less.text, much_less.text, more.text} == {"Be rude."}
    assert much_less.strength < less.strength < -1 < 0 < more.strength  # type: ignore[operator]


def test_a_trait_may_say_what_less_of_it_is_and_how_strong_each_level_is() -> None:
    loud = {"more": "Shout!", "less": "Whisper.", "less_strengths": [0.5, 1.5]}
    own = registry(traits={"loud": loud})
    assert own.wanted("loud --").preference == (Preference("Whisper.", strength=1.5),)


@pytest.mark.parametrize("wrong", [{"most": "x"}, {"more": "x", "more_strengths": [1.0]}, 3])
def test_a_trait_that_is_no_trait_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigurationError):
        registry(traits={"odd": wrong})


def test_presets_are_models_where_their_traits_are_unless_a_config_has_styles() -> None:
    assert registry().style_of("pocket@friendly").preference == Preference.preset("friendly")  # type: ignore[union-attr]
    few = registry(traits={"concise": "Be brief.", "simple": "Be plain."}).models
    assert few[:3] == ("pocket", "pocket@concise", "pocket@simple")
    assert set(few[3:]) == {"pocket@detailed", "pocket@efficient"}
    assert "pocket@friendly" not in registry(styles={}).models


@pytest.mark.parametrize("name", ["friendly", "Friendly"])
def test_a_preset_is_no_model_where_a_config_s_own_trait_has_its_name(name: str) -> None:
    own = {name: "Be a friend.", "warm": "Be warm.", "formal": "Be formal."}
    found = registry(traits=own)
    assert found.models == ("pocket", f"pocket@{name}", "pocket@warm", "pocket@formal")
    style = found.style_of(f"pocket@{name}")
    assert style == found.wanted("friendly")


@pytest.mark.parametrize(
    "text", ["Be brief, formal +", "formal +++", "concise +5", "formal -, funny +", "polite --"]
)
def test_what_is_meant_for_traits_and_isn_t_all_traits_is_refused(text: str) -> None:
    with pytest.raises(PreferenceError, match="must be concise, formal") as refused:
        registry().wanted(text)
    assert text not in str(refused.value)


@pytest.mark.parametrize("text", ["consise +", "formal -, Consise ++"])
def test_a_trait_that_is_misspelled_is_told_by_the_nearest_one(text: str) -> None:
    with pytest.raises(PreferenceError, match="did you mean 'concise'"):
        registry().wanted(text)
    with pytest.raises(ConfigurationError, match="did you mean 'concise'"):
        registry(styles={"short": {"traits": text}})


STYLES = {
    "brief": {"traits": "concise ++"},
    "pirate": {"preference": "Talk like a pirate.", "method": "strong"},
}


@pytest.mark.parametrize("settings", [{}, {"styles": STYLES}], ids=["presets", "own styles"])
def test_the_name_of_a_style_means_the_same_as_a_preference_and_in_a_model(
    settings: dict[str, object],
) -> None:
    found = registry(**settings)
    for name in found.styles:
        for written in (name, f" {name.upper()} "):
            assert found.wanted(written) == found.style_of(f"pocket@{name}")


def test_names_of_styles_and_traits_may_stand_together_and_the_first_method_counts() -> None:
    found = registry(styles={**STYLES, "loud": {"preference": "Shout!", "method": "subtle"}})
    assert found.wanted("brief, formal -, Pirate, loud") == NamedStyle(
        (
            Preference.trait("concise", 2),
            Preference.trait("formal", -1),
            Preference("Talk like a pirate."),
            Preference("Shout!"),
        ),
        Amulet(strength="strong"),
    )


def test_a_style_with_a_trait_s_name_has_it_wherever_it_stands_without_a_sign() -> None:
    found = registry(styles={"concise": {"preference": "One word."}})
    assert found.wanted("concise") == found.style_of("pocket@concise")
    assert found.wanted("concise").preference == (Preference("One word."),)
    assert found.wanted("concise +").preference == (Preference.trait("concise"),)


def test_a_style_may_be_given_by_its_words_alone() -> None:
    found = registry(styles={"pirate": "Talk like a pirate."})
    assert found.wanted("pirate").preference == (Preference("Talk like a pirate."),)
    assert found == registry(styles={"pirate": {"preference": "Talk like a pirate."}})


@pytest.mark.parametrize("style", ["concise ++", {"preference": "formal -, warm"}])
def test_a_style_s_words_that_are_traits_are_refused_when_a_server_starts(style: object) -> None:
    with pytest.raises(ConfigurationError, match="'brief' must say in words"):
        registry(styles={"brief": style})


def test_a_style_has_no_degrees() -> None:
    for text in ("friendly +", "concise, Friendly --"):
        with pytest.raises(PreferenceError, match="without a sign, but 'friendly' has one"):
            registry().wanted(text)


def test_a_dash_within_a_name_is_no_sign() -> None:
    dashed = registry(styles={"well-known": "Answer as an encyclopaedia does."})
    for text in ("well-known +", "Well-known --", "concise, well-known+2"):
        with pytest.raises(PreferenceError, match="without a sign, but 'well-known' has one"):
            dashed.wanted(text)


def test_a_text_of_very_many_names_or_signs_is_read_at_once() -> None:
    began = time.monotonic()
    dashes = "a" + "-" * 100_000 + "x"
    assert registry().wanted(dashes).preference == (Preference(dashes),)
    many = ",".join(["formal"] * (MOST_NAMES + 1))
    assert registry().wanted(many).preference == (Preference(many),)
    assert len(registry().wanted(many.removesuffix(",formal")).preference) == MOST_NAMES
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "text",
    [
        "Be brief, formal",
        "formal concise",
        "Write C++, not Java.",
        "C++",
        "Rust, C++",
        "Be friendly.",
        "friendly,",
    ],
)
def test_a_text_that_isn_t_made_of_names_alone_is_a_preference_as_it_stands(text: str) -> None:
    assert registry().wanted(text) == NamedStyle((Preference(text),))


@pytest.mark.parametrize(
    "text",
    [
        "concise + formal -",
        "concise ++ formal --",
        "formal + concise",
        "concise+formal-",
        "+concise",
        "- Friendly, concise",
        "concise ++; formal -",
        "- formal\n- concise",
    ],
)
def test_names_and_signs_that_aren_t_divided_by_commas_are_refused(text: str) -> None:
    with pytest.raises(PreferenceError, match="with commas between them") as refused:
        registry().wanted(text)
    assert text not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["formal - not stiff", "well-formal concise", "formal-concise", "1 + 1", "- - -"]
)
def test_signs_among_other_words_are_words(text: str) -> None:
    assert registry().wanted(text) == NamedStyle((Preference(text),))


@pytest.mark.parametrize(
    "text, meant",
    [("friendly, consise", "concise"), ("Frendly, concise", "friendly"), ("warm,formel", "formal")],
)
def test_a_name_that_is_misspelled_beside_others_is_told_by_the_nearest_one(
    text: str, meant: str
) -> None:
    with pytest.raises(PreferenceError, match=f"did you mean '{meant}'"):
        registry().wanted(text)


@pytest.mark.parametrize("text", ["consise", "friendly, to the point", "consise, formel"])
def test_words_that_are_only_like_names_are_words(text: str) -> None:
    assert registry().wanted(text) == NamedStyle((Preference(text),))


def test_an_empty_text_is_no_preference() -> None:
    assert registry().wanted("  ") == NamedStyle(())


def test_each_style_and_each_trait_is_a_model() -> None:
    styles = {"work": {"traits": "formal +, concise ++", "method": "pref"}}
    found = registry(traits={"formal": "Be formal.", "concise": "Be brief."}, styles=styles)
    assert found.models == ("pocket", "pocket@formal", "pocket@concise", "pocket@work")
    assert found.style_of("pocket") is None
    style = found.style_of("pocket@work")
    assert style is not None
    assert style.method == Pref()
    assert [each.text for each in style.preference] == ["Be formal.", "Be brief."]


@pytest.mark.parametrize("strength", ["strong", 1.5, "0.5"])
def test_a_style_of_traits_has_their_strengths_and_none_of_its_own(strength: str | float) -> None:
    with pytest.raises(ConfigurationError, match="method of the style 'work' goes with"):
        registry(styles={"work": {"traits": "formal +", "method": strength}})
    for method in ("amulet", "amulet:kl_cap=0.5"):
        assert registry(styles={"work": {"traits": "formal +", "method": method}})


@pytest.mark.parametrize("name", ["other", "other@formal", "pocket@", "pocket@nothing", "@formal"])
def test_a_model_that_there_isn_t_is_unknown(name: str) -> None:
    with pytest.raises(KeyError):
        registry().style_of(name)


def test_a_style_of_a_trait_that_there_isn_t_is_refused_when_a_server_starts() -> None:
    with pytest.raises(ConfigurationError, match="'work' must be made of traits"):
        registry(styles={"work": {"traits": "polite +"}})


@pytest.mark.parametrize(
    "value", ["strong", " strong ", 1.5, "0.5", " 0.5", "pref", " pref ", "amulet:kl_cap=0.5"]
)
def test_calls_may_ask_for_strengths_and_for_methods_on_the_list(value: str | float) -> None:
    registry().method(value)


@pytest.mark.parametrize(
    "value", ["pad:model=./reward", "proxy_tuning", "beam_search", "os:system"]
)
def test_calls_may_not_load_models_decode_many_answers_or_name_code(value: str) -> None:
    with pytest.raises(ConfigurationError):
        registry().method(value)


@pytest.mark.parametrize("value", ["strong:strength=1", "proxy_tuning", ""])
def test_who_asks_for_what_they_may_not_is_told_only_what_they_may(value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"not '{value}'") as refused:
        registry().method(value)
    told, _, _ = str(refused.value).partition(", or a number")
    assert told == (
        "A call's method must be one of base, pref, auto, amulet, linear_alignment, "
        "context_steering, subtle, balanced, strong"
    )


def test_a_program_may_allow_a_method_that_isn_t_on_the_list() -> None:
    assert registry(methods=["beam_search"]).method("beam_search").name == "beam_search"


def test_a_trait_must_be_a_preference() -> None:
    with pytest.raises(PreferenceError):
        registry(traits={"empty": " "})


def test_only_methods_that_there_are_may_be_asked_for() -> None:
    with pytest.raises(ConfigurationError, match="'amulett' isn't: did you mean 'amulet'"):
        registry(methods=("pref", "amulett"))
