"""Styles as they are typed: in words, or as traits with how much of each.

Knows preferences, how traits are written and stores' texts; nothing of models or of how stores are
opened.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_amulet.errors import PreferenceError
from langchain_amulet.memory import PreferenceStore, StoredPreference
from langchain_amulet.preferences import TRAITS, Preference
from langchain_amulet.preferences.traits import levels_in, read_levels

OFF = ("", "off", "none")
"""What is said in place of a style for none."""


def styled(text: str) -> tuple[Preference, ...]:
    """What a style asks for: ``concise ++, formal -`` are traits, all else is words.

    Raises:
        PreferenceError: It is empty, can't be a preference, or is meant for traits and isn't.
    """
    if not text.strip():
        raise PreferenceError(
            "A style can't be empty: say in words how to answer, as in 'Keep it short.', or name "
            f"traits, which are {', '.join(TRAITS)}, as in 'concise ++'."
        )
    levels = levels_in(text, TRAITS)
    return (Preference(text),) if levels is None else _at(levels)


def style_or_none(text: str) -> tuple[Preference, ...]:
    """As `styled`; nothing where the text turns a style off."""
    return () if text.strip().casefold() in OFF else styled(text)


def forgotten(store: PreferenceStore, user_id: str, text: str) -> tuple[StoredPreference, ...]:
    """Have a user no longer prefer a style: these words, and what they ask for if they are traits.

    A trait is forgotten with the text that it asks for at its level, however strongly that is kept.

    Raises:
        PreferenceError: It is empty or meant for traits and isn't, and nothing has these words.
    """
    traits = _at(read_levels(text, TRAITS) or ())
    texts = dict.fromkeys([text, *(each.text for each in traits)])
    found = tuple(each for words in texts for each in store.forget(user_id, words))
    if not found:
        styled(text)
    return found


def _at(levels: Sequence[tuple[str, int]]) -> tuple[Preference, ...]:
    return tuple(Preference.trait(name, level) for name, level in levels)


def in_words(style: Sequence[Preference]) -> str:
    """A style as the model reads it, with how strongly it is taken where it says so."""
    return " ".join(
        each.text if each.strength is None else f"{each.text} (strength {each.strength})"
        for each in style
    )
