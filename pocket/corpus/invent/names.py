"""Names of people, places, companies, products and functions, in ASCII."""

from __future__ import annotations

import random

from pocket.corpus.invent.words import listed, phrase, word


def capitalised(rng: random.Random, low: int = 2, high: int = 3) -> str:
    """An invented word with a capital."""
    return word(rng, low, high).capitalize()


def first_name(rng: random.Random) -> str:
    """A first name, real or invented."""
    return listed(rng, "first_names") if rng.random() < 0.55 else capitalised(rng, 1, 3)


def surname(rng: random.Random) -> str:
    """An invented surname."""
    if rng.random() < 0.5:
        return (word(rng, 1, 2) + listed(rng, "surname_ends")).capitalize()
    return capitalised(rng)


def person(rng: random.Random) -> str:
    """A person's full name, now and then with an initial or a double surname."""
    roll = rng.random()
    if roll < 0.06:
        return f"{first_name(rng)} {rng.choice('ABCDEFGHJKLMNPRSTVW')}. {surname(rng)}"
    if roll < 0.12:
        return f"{first_name(rng)} {surname(rng)}-{surname(rng)}"
    return f"{first_name(rng)} {surname(rng)}"


def pet(rng: random.Random) -> str:
    """An invented pet's name."""
    return capitalised(rng, 1, 2)


def city(rng: random.Random) -> str:
    """A real city."""
    return listed(rng, "cities")


def place(rng: random.Random) -> str:
    """An invented town."""
    roll = rng.random()
    if roll < 0.45:
        return (word(rng, 1, 2) + listed(rng, "place_ends")).capitalize()
    if roll < 0.6:
        return f"{listed(rng, 'place_starts')} {capitalised(rng)}"
    return capitalised(rng)


def town(rng: random.Random) -> str:
    """A town, one in five real."""
    return city(rng) if rng.random() < 0.2 else place(rng)


def street(rng: random.Random) -> str:
    """An invented address in a street: a number and the street, or the other way round."""
    name = f"{capitalised(rng)} {listed(rng, 'street_ends')}"
    number = rng.randint(1, 299)
    return f"{number} {name}" if rng.random() < 0.75 else f"{name} {number}"


def room(rng: random.Random) -> str:
    """A room with a number or a name."""
    if rng.random() < 0.5:
        return f"room {rng.randint(1, 499)}"
    return f"the {capitalised(rng)} room"


def company(rng: random.Random) -> str:
    """An invented company."""
    roll = rng.random()
    if roll < 0.55:
        return f"{capitalised(rng)} {listed(rng, 'company_ends')}"
    if roll < 0.75:
        return f"{surname(rng)} & {surname(rng)}"
    return capitalised(rng)


def product(rng: random.Random) -> str:
    """An invented product."""
    roll = rng.random()
    if roll < 0.5:
        return f"{capitalised(rng)} {rng.randint(1, 990)}"
    if roll < 0.75:
        return f"{capitalised(rng)} {rng.choice(('Pro', 'Mini', 'Max', 'Air', 'Plus', 'One'))}"
    return f"{rng.choice('ABCDEFGHKLMPRSTVXZ')}{rng.randint(1, 99)} {capitalised(rng)}"


def book_title(rng: random.Random) -> str:
    """An invented title in quotes."""
    return f'"{phrase(rng, 1, 3).capitalize()} {capitalised(rng)}"'


def email(rng: random.Random) -> str:
    """An e-mail address."""
    return f"{word(rng, 1, 2)}@{word(rng, 1, 2)}.{rng.choice(('com', 'org', 'net', 'io'))}"


def function_name(rng: random.Random) -> str:
    """A snake_case function name of one to three parts."""
    roll = rng.random()
    if roll < 0.08:
        return word(rng, 2, 3)
    if roll < 0.14:
        return listed(rng, "nouns")
    if roll < 0.62:
        return f"{listed(rng, 'verbs')}_{listed(rng, 'nouns')}"
    if roll < 0.76:
        return f"{listed(rng, 'verbs')}_{listed(rng, 'nouns')}_{listed(rng, 'nouns')}"
    if roll < 0.86:
        return f"{listed(rng, 'verbs')}_{word(rng, 1, 3)}"
    if roll < 0.94:
        return f"{word(rng, 1, 3)}_{listed(rng, 'nouns')}"
    return f"{listed(rng, 'verbs')}_{word(rng, 1, 2)}_{listed(rng, 'nouns')}"
