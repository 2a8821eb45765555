"""An answer ends before the first of its stop strings, whatever pieces it comes in."""

from hypothesis import given
from hypothesis import strategies as st

from langchain_amulet.chat_formats.stop_strings import StopStrings


def cut_by_hand(text: str, stops: list[str]) -> str:
    """Read character by character, and cut as soon as a stop string is complete."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - len(max(found, key=len))]
    return text


LETTERS = st.text(alphabet="ab\n", max_size=12)
STOPS = st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), max_size=3)


@given(pieces=st.lists(LETTERS), stops=STOPS)
def test_text_is_cut_before_the_stop_string_that_is_complete_first(
    pieces: list[str], stops: list[str]
) -> None:
    watch = StopStrings(stops)
    shown = "".join(map(watch.feed, pieces)) + watch.flush()
    assert shown == cut_by_hand("".join(pieces), stops)


@given(pieces=st.lists(LETTERS), stops=STOPS)
def test_no_part_of_a_stop_string_is_ever_shown(pieces: list[str], stops: list[str]) -> None:
    final = cut_by_hand("".join(pieces), stops)
    watch = StopStrings(stops)
    shown = ""
    for piece in pieces:
        shown += watch.feed(piece)
        assert final.startswith(shown)


@given(pieces=st.lists(LETTERS), stops=STOPS)
def test_nothing_is_held_back_but_a_possible_start_of_a_stop_string(
    pieces: list[str], stops: list[str]
) -> None:
    watch = StopStrings(stops)
    shown = "".join(map(watch.feed, pieces))
    held = "".join(pieces)[len(shown) :]
    if not watch.found:
        assert held == "" or any(stop.startswith(held) for stop in stops)


@given(pieces=st.lists(LETTERS), stops=STOPS)
def test_what_is_not_passed_on_is_counted(pieces: list[str], stops: list[str]) -> None:
    watch = StopStrings(stops)
    shown = "".join(map(watch.feed, pieces)) + watch.flush()
    assert watch.cut == len("".join(pieces)) - len(shown)
