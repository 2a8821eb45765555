"""Strings with letters beyond ASCII."""

from __future__ import annotations

import random
from types import MappingProxyType

from pocket.corpus.invent.names import first_name, place, surname

_ACCENTS = MappingProxyType(
    {
        "a": "áàâäãå",
        "e": "éèêëę",
        "i": "íîïì",
        "o": "óôöõø",
        "u": "úûüů",
        "n": "ñń",
        "c": "çčć",
        "s": "šśş",
        "z": "žźż",
        "y": "ýÿ",
        "l": "ł",
        "r": "ř",
    }
)
_CYRILLIC = "абвгдежзиклмнопрстуфхцчшыьэюя"
_GREEK = "αβγδεζηθικλμνξοπρστυφχψω"
_HAN, _HANGUL, _HIRAGANA, _KATAKANA = (
    (0x4E00, 0x9FA0),
    (0xAC00, 0xD7A0),
    (0x3042, 0x3090),
    (0x30A2, 0x30F0),
)


def non_ascii(rng: random.Random) -> str:
    """A string with letters beyond ASCII."""
    roll = rng.random()
    if roll < 0.4:
        return accented(rng)
    if roll < 0.7:
        return cjk(rng)
    return cyrillic(rng) if roll < 0.88 else greek(rng)


def accented(rng: random.Random) -> str:
    """A Latin name with accents, such as Zoë Müñoz."""
    name = f"{first_name(rng)} {surname(rng)}" if rng.random() < 0.6 else place(rng)
    return "".join(_accent(rng, letter) for letter in name)


def _accent(rng: random.Random, letter: str) -> str:
    options = _ACCENTS.get(letter.lower())
    if not options or rng.random() >= 0.35:
        return letter
    other = rng.choice(options)
    return other.upper() if letter.isupper() else other


def cjk(rng: random.Random) -> str:
    """Two to six random Chinese characters, sometimes kana or hangul."""
    roll = rng.random()
    low, high = _HAN
    if roll > 0.9:
        low, high = _HANGUL
    elif roll > 0.84:
        low, high = _HIRAGANA
    elif roll > 0.78:
        low, high = _KATAKANA
    return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(2, 6)))


def cyrillic(rng: random.Random) -> str:
    """One or two Cyrillic words."""
    return " ".join(_letters(rng, _CYRILLIC) for _ in range(rng.choice((1, 1, 2))))


def greek(rng: random.Random) -> str:
    """A Greek word."""
    return _letters(rng, _GREEK)


def _letters(rng: random.Random, alphabet: str) -> str:
    text = "".join(rng.choice(alphabet) for _ in range(rng.randint(3, 7)))
    return text.capitalize() if rng.random() < 0.7 else text
