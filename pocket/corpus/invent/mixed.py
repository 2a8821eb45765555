"""Values that may be of several kinds."""

from __future__ import annotations

import random

from pocket.corpus.invent.letters import accented, non_ascii
from pocket.corpus.invent.names import (
    capitalised,
    city,
    company,
    email,
    first_name,
    function_name,
    person,
    pet,
    place,
    product,
    street,
)
from pocket.corpus.invent.numbers import code, date, floating, price, signed, time_of_day
from pocket.corpus.invent.words import listed, phrase, word


def person_any(rng: random.Random) -> str:
    """A first name or a full name, now and then not ASCII."""
    roll = rng.random()
    if roll < 0.4:
        return first_name(rng)
    return accented(rng) if roll < 0.46 else person(rng)


def full_name(rng: random.Random) -> str:
    """A full name, now and then not ASCII."""
    return accented(rng) if rng.random() < 0.06 else person(rng)


def place_any(rng: random.Random) -> str:
    """A city, real or invented, now and then not ASCII."""
    roll = rng.random()
    if roll < 0.45:
        return city(rng)
    return non_ascii(rng) if roll < 0.5 else place(rng)


def topic(rng: random.Random) -> str:
    """What people search for: a phrase or a name."""
    roll = rng.random()
    if roll < 0.6:
        return phrase(rng, 1, 4)
    if roll < 0.7:
        return non_ascii(rng)
    return rng.choice((person, company, product, capitalised))(rng)


def colour(rng: random.Random) -> str:
    """A colour."""
    return listed(rng, "colours")


def colours(rng: random.Random) -> str:
    """A colour or two."""
    first = colour(rng)
    return f"{first} and {colour(rng)}" if rng.random() < 0.2 else first


def status(rng: random.Random) -> str:
    """What has become of an order."""
    return listed(rng, "order_states")


def sky(rng: random.Random) -> str:
    """The weather, some with the temperature."""
    sky = listed(rng, "skies")
    roll = rng.random()
    if roll < 0.35:
        return sky
    if roll < 0.7:
        return f"{rng.randint(-20, 110)} degrees and {sky}"
    return f"{sky} and {rng.randint(-20, 42)} degrees"


def anything(rng: random.Random) -> str:
    """A string of any of these kinds."""
    maker = rng.choice(
        (
            person, person, first_name, city, place, company, product, pet, street, function_name,
            date, time_of_day, price, code, code, phrase, phrase, email, word, non_ascii,
        )
    )  # fmt: skip
    if rng.random() < 0.12:
        return str(floating(rng) if rng.random() < 0.3 else signed(rng))
    return maker(rng)
