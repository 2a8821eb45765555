"""Patterns of the texts that stand for everyday values: days, durations, addresses, ids, numbers.

Each is one that all its texts are read by, by Python's and pydantic's readers alike; texts that
hardly anybody writes are left out, where that keeps a pattern short. Models are told of patterns.

This module knows regular expressions: nothing of classes, schemas or grammars.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Any

_SPAN = "(0[13-9]|1[0-2])-(0[1-9]|[12][0-9]|30)|(0[13578]|1[02])-31|02-(0[1-9]|1[0-9]|2[0-8])"
_LEAP_YEAR = "([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)"

DATE = f"([1-9][0-9]{{3}}-({_SPAN})|{_LEAP_YEAR}-02-29)"
TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
OFFSET = "(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])"
_POSITIVE = r"[1-9][0-9]{0,14}(\.[0-9]{1,6})?"
NUMBER = r"(0|-?[1-9][0-9]{0,14})(\.[0-9]{1,6})?"
COMPLEX = rf"{NUMBER}[+-]{_POSITIVE}j"
BYTE_COUNT = r"[0-9]{1,9}(\.[0-9]{1,3})? ?([kKMGTPE]i?)?B"
HEX = "[0-9a-f]"
WHOLE = 9
"""Digits that a whole number without bounds has at the most."""

_CLOCK = "([0-9]{1,6}H([0-9]{1,2}M)?([0-9]{1,2}S)?|[0-9]{1,6}M([0-9]{1,2}S)?|[0-9]{1,6}S)"
_DURATION = f"P([0-9]{{1,6}}D(T{_CLOCK})?|T{_CLOCK})"
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"({_BYTE}\.){{3}}{_BYTE}"
_GROUP = "[0-9a-f]{1,4}"
_IPV6 = f"(({_GROUP}:){{7}}{_GROUP}|{_GROUP}(:{_GROUP}){{0,5}}::|::({_GROUP}(:{_GROUP}){{0,5}})?)"
_IPV4_NETWORK = rf"({_BYTE}\.0\.0\.0/8|({_BYTE}\.){{2}}0\.0/16|({_BYTE}\.){{3}}0/24|{_IPV4}/32)"
_IPV6_PREFIXES = [f"({_GROUP}:){{{groups}}}:/{groups * 16}" for groups in range(1, 8)]
_IPV6_NETWORK = f"({'|'.join(_IPV6_PREFIXES)}|{_IPV6}/128)"
_IPV4_INTERFACE = f"{_IPV4}/([12]?[0-9]|3[0-2])"
_IPV6_INTERFACE = f"{_IPV6}/([1-9]?[0-9]|1[01][0-9]|12[0-8])"
_UUIDS = {
    f"uuid{version}": f"[0-9a-f]{{8}}-[0-9a-f]{{4}}-{version}[0-9a-f]{{3}}"
    "-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    for version in range(1, 9)
}

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "duration": _DURATION,
        "ipv4": _IPV4,
        "ipv6": _IPV6,
        "ipv4network": _IPV4_NETWORK,
        "ipv6network": _IPV6_NETWORK,
        "ipv4interface": _IPV4_INTERFACE,
        "ipv6interface": _IPV6_INTERFACE,
        "ipvanyaddress": f"({_IPV4}|{_IPV6})",
        "ipvanynetwork": f"({_IPV4_NETWORK}|{_IPV6_NETWORK})",
        "ipvanyinterface": f"({_IPV4_INTERFACE}|{_IPV6_INTERFACE})",
        "fraction": "-?[0-9]{1,9}/[1-9][0-9]{0,8}",
        "regex": "[A-Za-z0-9 ]*",
        **_UUIDS,
    }
)
"""What texts of a format look like, where JSON Schema doesn't know it or means more by it."""

PATH = "([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-F]{2}){0,200}"
LABEL = "[A-Za-z0-9]{1,30}(-[A-Za-z0-9]{1,20}){0,2}"
HOST = rf"(({LABEL}\.){{0,5}}[A-Za-z]{{1,20}}|{_IPV4})"
USER = "([A-Za-z0-9._~-]{1,64}(:[A-Za-z0-9._~-]{1,64})?@)?"
ANY_SCHEME = "[a-z][a-z0-9+.-]{1,31}"


def url(schemes: Sequence[str]) -> str:
    """A pattern of addresses, as far as they are written in ASCII.

    Args:
        schemes: What they may begin with; empty for anything.
    """
    if list(schemes) == ["file"]:
        return f"file:///{PATH}"
    scheme = literally(schemes) if schemes else ANY_SCHEME
    return rf"{scheme}://{USER}{HOST}(:[1-9][0-9]{{0,3}})?(/{PATH}(\?{PATH})?(#{PATH})?)?"


def literally(values: Iterable[Any]) -> str:
    """A pattern of these values as texts and nothing else."""
    texts = [re.sub(r"([\\.^$*+?()\[\]{}|])", r"\\\1", str(value)) for value in values]
    return f"({'|'.join(texts)})"


def offset(seconds: int) -> str:
    """A pattern of how an offset from UTC is written."""
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '[+]'}{hours:02}:{minutes:02}"


def dates_between(low: date, high: date) -> str:
    """A pattern of how days begin, as in 2024-02-29, that are neither before nor after these."""
    first = re.sub("(-01)?-01$", lambda end: end[0].replace("01", "00"), low.isoformat())
    last = re.sub("-12-31$", "-99-99", high.isoformat())
    first = "0000-00-00" if low == date.min else first
    return in_order(first, last)


def whole_numbers(low: float, high: float) -> str:
    """A pattern of the whole numbers from ``low`` to ``high``, of `WHOLE` digits at the most."""
    most = 10**WHOLE - 1
    low, high = int(max(low, -most)), int(min(high, most))
    if (low, high) == (-most, most):
        return f"(0|-?[1-9][0-9]{{0,{WHOLE - 1}}})"
    negative = _positive(max(1, -high), -low) if low < 0 else []
    positive = _positive(max(1, low), high) if high > 0 else []
    zero = ["0"] if low <= 0 <= high else []
    return f"({'|'.join([*(f'-{each}' for each in negative), *zero, *positive])})"


def _positive(low: int, high: int) -> list[str]:
    """Patterns of positive numbers, one for each number of digits."""
    sizes = range(len(str(low)), len(str(high)) + 1)
    bounds = [(max(low, 10 ** (size - 1)), min(high, 10**size - 1)) for size in sizes]
    return [in_order(str(first), str(last), "[0-9]") for first, last in bounds]


def in_order(low: str, high: str, digit: str = "") -> str:
    """A pattern of texts of the same shape, in order from one to the other.

    Args:
        low: The first one.
        high: The last one.
        digit: What stands for a digit that may be any; by default nothing does, and only how the
            texts begin is said.
    """
    zeros, nines = re.sub("[0-9]", "0", low[1:]), re.sub("[0-9]", "9", high[1:])
    if not re.search("[1-9]", low) and not re.search("[0-8]", high):
        return digit * len(low)
    if low[0] == high[0]:
        return low[0] + in_order(low[1:], high[1:], digit)
    first, last, parts = int(low[0]), int(high[0]), []
    if re.search("[1-9]", low[1:]):
        parts.append(low[0] + in_order(low[1:], nines, digit))
        first += 1
    if re.search("[0-8]", high[1:]):
        parts.append(high[0] + in_order(zeros, high[1:], digit))
        last -= 1
    if first <= last:
        parts.append(f"[{first}-{last}]" + in_order(zeros, nines, digit))
    return parts[0] if len(parts) == 1 else f"({'|'.join(parts)})"


def base64_texts(alphabet_end: str, is_text: bool) -> str:
    """A pattern of what base64 makes of bytes, or of ASCII alone, whose bytes are below 128.

    Args:
        alphabet_end: The last two characters of the alphabet: "+/", or "-_" for addresses.
        is_text: Whether the bytes are to be read as a text.
    """
    alphabet = f"{string.ascii_uppercase}{string.ascii_lowercase}{string.digits}{alphabet_end}"
    # Of 24 bits in four characters these begin the three bytes, so that a text has them unset.
    first, second, third = (
        _one_of(value for place, value in enumerate(alphabet) if not (is_text and place & bit))
        for bit in (32, 8, 2)
    )
    any_ = _one_of(alphabet)
    return f"({first}{second}{third}{any_})*({first}{any_}==|{first}{second}{any_}=)?"


def _one_of(characters: Iterable[str]) -> str:
    return f"[{''.join(characters).replace('-', chr(92) + '-')}]"
