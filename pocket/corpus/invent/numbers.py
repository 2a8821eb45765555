"""Numbers and what is written with them: dates, times, prices, sizes, codes."""

from __future__ import annotations

import random

from pocket.corpus.invent.words import listed

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def coin(rng: random.Random) -> bool:
    """True or false."""
    return rng.random() < 0.5


def integer(rng: random.Random) -> int:
    """A positive integer of one to six digits, the short ones more often."""
    digits = rng.choice((1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6))
    return rng.randint(0 if digits == 1 else 10 ** (digits - 1), 10**digits - 1)


def signed(rng: random.Random) -> int:
    """An integer, one in six negative."""
    value = integer(rng)
    return -value if rng.random() < 0.17 else value


def floating(rng: random.Random) -> float:
    """A float with one to three decimals (never a whole number), one in ten negative."""
    whole = rng.randint(0, rng.choice((9, 99, 999, 9999)))
    decimals = rng.choice(("", "", "", str(rng.randint(0, 9)), f"{rng.randint(0, 99):02}"))
    value = float(f"{whole}.{decimals}{rng.randint(1, 9)}")
    return -value if rng.random() < 0.1 else value


def number(rng: random.Random) -> int | float:
    """An integer or a float of either sign."""
    return floating(rng) if rng.random() < 0.4 else signed(rng)


def amount(rng: random.Random) -> int | float:
    """A positive number, of money or of goods."""
    return abs(floating(rng)) if rng.random() < 0.3 else rng.randint(2, 9999)


def count(rng: random.Random, low: int, *highs: int) -> str:
    """A number of things from ``low`` to one of ``highs``, in digits."""
    return str(rng.randint(low, rng.choice(highs)))


def long_number(rng: random.Random) -> str:
    """A number of three to six digits, some with commas."""
    value = rng.randint(100, rng.choice((999, 9999, 99999, 999999)))
    return f"{value:,}" if rng.random() < 0.4 else str(value)


def age(rng: random.Random) -> str:
    """A person's age in years."""
    return str(rng.randint(3, 99))


def height(rng: random.Random) -> str:
    """A height in metres or feet."""
    unit = rng.choice(("metres", "meters", "feet", "m"))
    if rng.random() < 0.3:
        return f"{rng.randint(1, 99)}.{rng.randint(1, 9)} {unit}"
    return f"{rng.randint(2, rng.choice((99, 999, 8999)))} {unit}"


def year(rng: random.Random) -> str:
    """A year."""
    return str(rng.randint(1650, 2039) if rng.random() < 0.6 else rng.randint(1900, 2029))


def iso_date(rng: random.Random) -> str:
    """A date as 2024-05-17."""
    return f"{rng.randint(1900, 2039)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


def date(rng: random.Random) -> str:
    """A date in one of several formats."""
    roll = rng.random()
    day, month, when = rng.randint(1, 28), listed(rng, "months"), rng.randint(1900, 2039)
    if roll < 0.25:
        return iso_date(rng)
    if roll < 0.45:
        return f"{day} {month} {when}"
    if roll < 0.65:
        return f"{month} {day}, {when}"
    if roll < 0.8:
        return f"{month} {day}"
    if roll < 0.9:
        return f"{day} {month}"
    return f"{day:02}/{rng.randint(1, 12):02}/{when}"


def time_of_day(rng: random.Random) -> str:
    """A time of day in one of several formats."""
    minute = rng.randint(0, 59) if rng.random() < 0.5 else rng.choice((0, 15, 30, 45))
    roll = rng.random()
    if roll < 0.6:
        return f"{rng.randint(0, 23):02}:{minute:02}"
    if roll < 0.85:
        return f"{rng.randint(1, 12)}:{minute:02} {rng.choice(('am', 'pm', 'AM', 'PM'))}"
    return f"{rng.randint(1, 12)} {rng.choice(('am', 'pm'))}"


def opening(rng: random.Random) -> str:
    """When something starts: a time or a date."""
    return rng.choice((time_of_day, time_of_day, date))(rng)


def price(rng: random.Random) -> str:
    """A price with its currency."""
    roll = rng.random()
    amount = (
        f"{rng.randint(1, rng.choice((9, 99, 999)))}.{rng.randint(0, 99):02}"
        if rng.random() < 0.5
        else str(rng.randint(1, rng.choice((9, 99, 999, 9999))))
    )
    if roll < 0.45:
        return f"${amount}"
    if roll < 0.6:
        return f"€{amount}"
    if roll < 0.68:
        return f"£{amount}"
    return f"{amount} {rng.choice(('euros', 'dollars', 'crowns', 'EUR', 'USD', 'pounds'))}"


def ticker(rng: random.Random) -> str:
    """A stock's symbol."""
    return "".join(rng.choice(_LETTERS) for _ in range(rng.randint(3, 4)))


def code(rng: random.Random) -> str:
    """An identifier such as KX-482."""
    head = "".join(rng.choice(_LETTERS) for _ in range(rng.randint(1, 4)))
    roll = rng.random()
    number = integer(rng)
    if roll < 0.5:
        return f"{head}-{number}"
    if roll < 0.65:
        return f"{head}{number}"
    if roll < 0.75:
        return f"#{number}"
    if roll < 0.85:
        return f"{number}{head}"
    if roll < 0.93:
        return f"{head}-{number}-{rng.choice(_LETTERS)}{rng.randint(0, 9)}"
    return "".join(rng.choice("0123456789abcdef") for _ in range(rng.randint(4, 8)))
