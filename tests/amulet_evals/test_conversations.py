"""What users say in conversations, and which conversations there are."""

from collections import Counter

import pytest

from amulet_evals.data.styles import Style
from amulet_evals.run.conversations import Script, scripts, talks

TOPICS = [{"name": name, "doing": f"{name}ing"} for name in ("walk", "read", "cook", "paint")]
OPENINGS = ("Help me with {doing}.", "Tell me about {doing}.")
TURNS = ("Why?", "What is {name} for?", "And then?", "What else?", "How long?")
STYLES = (Style("short", ("Be short.", "Few words.")), Style("kind", ("Be kind.",)))


def written(length: int = 4) -> tuple[Script, ...]:
    return scripts(TOPICS, OPENINGS, TURNS, length)


@pytest.mark.parametrize("length", [1, 3, 6])
def test_a_script_opens_once_and_says_no_turn_twice(length: int) -> None:
    for script in written(length):
        opening, *turns = script.says
        assert f"{script.id}ing" in opening
        assert len(script.says) == len(set(script.says)) == length
        assert set(turns) <= {turn.format(name=script.id) for turn in TURNS}


def test_every_topic_has_an_order_of_its_own_and_keeps_it() -> None:
    assert written() == written()
    assert scripts(TOPICS[1:], OPENINGS, TURNS, 4) == written()[1:]
    orders = {tuple(text.replace(each.id, "") for text in each.says[1:]) for each in written(6)}
    assert len(orders) > 1


def test_a_longer_script_begins_as_the_shorter_one() -> None:
    for short, long in zip(written(3), written(6), strict=True):
        assert long.says[:3] == short.says


def test_every_script_is_asked_in_every_style_method_and_place_and_once_plainly() -> None:
    found = talks("m", ("pref", "amulet"), written(), STYLES, ("system", "user"))
    assert len({each.key for each in found}) == len(found) == 4 * (1 + 2 * 2 * 2)
    assert Counter((each.method, each.style, each.placement) for each in found) == {
        ("base", None, "system"): 4,
        **{
            (method, style.name, place): 4
            for method in ("pref", "amulet")
            for style in STYLES
            for place in ("system", "user")
        },
    }
    assert {each.preference for each in found} == {None, "Be short.", "Be kind."}
