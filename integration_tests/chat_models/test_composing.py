"""A call's preference on top of the standing one, instead of in its place."""

from typing import Any

import pytest

from langchain_amulet import ChatAmulet, Preference
from langchain_amulet.errors import PreferenceError
from support.memories import KIND, Notes
from support.ways import DIRECT, INSIDE, QUESTION, Way, invoke

SHORT = "Keep it short."
ADA: Any = {"configurable": {"user_id": "ada"}}

pytestmark = pytest.mark.usefixtures("loaded")
every_way = pytest.mark.parametrize("way", DIRECT.values(), ids=DIRECT)
every_way_inside = pytest.mark.parametrize("way", INSIDE.values(), ids=INSIDE)


@pytest.fixture
def notes() -> Notes:
    return Notes(ada=KIND)


@pytest.fixture
def composing(llm: ChatAmulet, notes: Notes) -> ChatAmulet:
    return llm.model_copy(update={"memory": notes, "compose": True})


@pytest.fixture
def both(llm: ChatAmulet) -> str:
    return invoke(llm, QUESTION, preference=SHORT, standing_preference=KIND)


def test_one_on_top_of_the_other_is_neither_alone_nor_both_side_by_side(
    llm: ChatAmulet, both: str
) -> None:
    others = [KIND, SHORT, [KIND, SHORT]]
    assert both not in [invoke(llm, QUESTION, preference=other) for other in others]
    assert both != invoke(llm, QUESTION, preference=KIND, standing_preference=SHORT)


def test_at_one_strength_the_two_steer_like_one_that_says_both(llm: ChatAmulet, both: str) -> None:
    assert invoke(llm, QUESTION, preference=f"{KIND}\n{SHORT}") == both
    louder = Preference(SHORT, strength=7.0)
    assert invoke(llm, QUESTION, preference=louder, standing_preference=KIND) != both


@every_way
def test_a_calls_preference_goes_on_top_of_what_is_stored(
    composing: ChatAmulet, notes: Notes, both: str, way: Way
) -> None:
    in_config: Any = {"configurable": {"user_id": "ada", "preference": SHORT}}
    assert way(composing, QUESTION, ADA, preference=SHORT) == both
    assert way(composing, QUESTION, in_config) == both
    assert len(notes.asked) == 2


@every_way_inside
def test_it_does_so_in_whatever_the_model_is_part_of(
    composing: ChatAmulet, notes: Notes, both: str, way: Way
) -> None:
    assert way(composing, QUESTION, {"metadata": {"user_id": "ada", "preference": SHORT}}) == both
    assert len(notes.asked) == 1


@pytest.mark.parametrize("way", [DIRECT["stream"], DIRECT["astream"]])
def test_a_model_that_may_not_stream_composes_once(
    composing: ChatAmulet, notes: Notes, both: str, way: Way
) -> None:
    whole = composing.model_copy(update={"disable_streaming": True})
    assert way(whole, QUESTION, ADA, preference=SHORT) == both
    stored = way(whole, QUESTION, ADA)
    assert stored == invoke(composing, QUESTION, preference=KIND)
    assert len(notes.asked) == 2


def test_a_call_says_by_itself_whether_to_compose(composing: ChatAmulet, both: str) -> None:
    replacing = composing.model_copy(update={"compose": False})
    alone = invoke(replacing, QUESTION, ADA, preference=SHORT)
    assert invoke(replacing, QUESTION, ADA, preference=SHORT, compose=True) == both != alone
    assert invoke(composing, QUESTION, ADA, preference=SHORT, compose=False) == alone


def test_where_nothing_is_stored_the_models_own_is_below(composing: ChatAmulet, both: str) -> None:
    own = composing.with_preference(KIND)
    assert invoke(own, QUESTION, preference=SHORT) == both
    assert invoke(own, QUESTION, user_id="zoe", preference=SHORT) == both


def test_with_nothing_below_a_preference_stands_alone(
    llm: ChatAmulet, composing: ChatAmulet
) -> None:
    short = invoke(llm, QUESTION, preference=SHORT)
    assert invoke(composing, QUESTION, preference=SHORT) == short
    assert invoke(composing, QUESTION, user_id="zoe", preference=SHORT) == short


def test_none_turns_off_what_is_below_too(llm: ChatAmulet, composing: ChatAmulet) -> None:
    plain = invoke(llm, QUESTION)
    own = composing.with_preference(KIND)
    assert invoke(own, QUESTION, ADA, preference=None) == plain
    assert invoke(own, QUESTION, ADA, preference=[]) == plain


def test_an_answer_tells_both_strengths_and_how_far_the_two_agree(llm: ChatAmulet) -> None:
    below, own = Preference(KIND, strength=0.5), Preference(SHORT, strength="strong")
    answer = llm.invoke(QUESTION, preference=own, standing_preference=below)
    assert answer.response_metadata["strength"] == [0.5, 2.0]
    assert -1.0 <= answer.response_metadata["agreement"] <= 1.0


def test_a_wish_leaves_of_the_same_wish_more_than_of_another() -> None:
    with ChatAmulet(temperature=0.0, max_tokens=60) as pocket:
        same, other = (
            pocket.invoke(QUESTION, preference=wish, standing_preference="Use plain words.")
            for wish in ("Use plain words.", "Please use a formal tone.")
        )
    assert same.response_metadata["agreement"] > 0.6
    assert other.response_metadata["agreement"] < 0.3


def test_what_is_below_is_held_to_the_same_limits(llm: ChatAmulet) -> None:
    with pytest.raises(PreferenceError, match="at most 2000 characters"):
        llm.invoke(QUESTION, preference=SHORT, standing_preference="x" * 2001)
    with pytest.raises(PreferenceError, match="must be a text or a Preference"):
        llm.invoke(QUESTION, preference=SHORT, standing_preference=7)
