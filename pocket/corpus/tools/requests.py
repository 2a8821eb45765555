"""What users say to have a tool called, every argument in it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from pocket.corpus.tools.catalogue import catalogue
from pocket.corpus.tools.tool import Tool, Use
from pocket.corpus.wording import capital, enumeration, show


def use(rng: random.Random, tool: Tool) -> Use:
    """The tool with fresh values; no two of them are equal, and optional ones may lack."""
    values: dict[str, Any] = {}
    for param in tool.params:
        if not param.required and rng.random() < 0.45:
            continue
        value = param.value(rng)
        while not isinstance(value, bool) and value in values.values():
            value = param.value(rng)
        values[param.name] = value
    return Use(tool, values)


def request(rng: random.Random, wanted: Use) -> str:
    """A user turn: in everyday words where the tool has a purpose, else by the tool's name."""
    if wanted.tool.asks and rng.random() < 0.85:
        asked = wanted.fill(rng.choice(wanted.tool.asks))
        asked = asked if rng.random() < 0.9 else asked.rstrip(".?")
        wrapper = rng.choice(catalogue().asks["wrapped"])
        return wrapper.format(name=wanted.tool.name, ask=asked)
    return _request_by_name(rng, wanted)


def _request_by_name(rng: random.Random, wanted: Use) -> str:
    tool, values = wanted.tool, wanted.values
    by_name = rng.random() < (0.6 if "_" in tool.name else 1.0)
    form = "by_name" if by_name else "by_purpose"
    template = rng.choice(catalogue().asks[form if values else f"{form}_alone"])
    arguments = ""
    if "{bare}" in template:
        arguments = _in_code(values)
    elif values:
        arguments = _in_words(rng, wanted)
    return template.format(
        name=tool.name, words=capital(tool.words), lower=tool.words, bare=arguments, args=arguments
    )


def _in_code(values: Mapping[str, Any]) -> str:
    if len(values) == 1:
        (value,) = values.values()
        if not isinstance(value, str):
            return show(value)
    return ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items()
    )


def _in_words(rng: random.Random, wanted: Use) -> str:
    """The arguments with their names, or one argument alone, all in the same kind of quotes."""
    quote = rng.choice(("", "", "", '"', "'"))
    shown = {name: _quoted(value, quote) for name, value in wanted.values.items()}
    if len(shown) == 1 and rng.random() < 0.6:
        ((name, value),) = wanted.values.items()
        if not isinstance(value, bool):
            return shown[name]
    form = rng.choice(("{} {}", "{} {}", "{}={}", "{} = {}", "{}: {}", "{} set to {}"))
    spaced = form == "{} {}" and rng.random() < 0.4
    parts = [
        form.format(name.replace("_", " ") if spaced else name, text)
        for name, text in shown.items()
    ]
    if len(parts) > 1 and rng.random() < 0.6:
        return enumeration(parts)
    return ", ".join(parts)


def _quoted(value: Any, quote: str) -> str:
    if isinstance(value, str) and quote not in value:
        return f"{quote}{value}{quote}"
    return show(value)


def joint_request(rng: random.Random, one: Use, two: Use) -> str:
    """A user turn that asks for both: in one sentence if they differ in one value only, or two."""
    first = request(rng, one).rstrip(".?")
    if _in_one_value(one, two) and rng.random() < 0.6:
        return _one_sentence(rng, one, two) or f"{first}, and {request(rng, two)}"
    link = rng.choice((" and ", ". Also: ", ", and then ", "? And ", ". ", "\n"))
    return f"{first}{link}{request(rng, two)}"


def _in_one_value(one: Use, two: Use) -> bool:
    return (
        one.tool is two.tool
        and len(one.values) == 1
        and one.values.keys() == two.values.keys()
        and not any(isinstance(value, bool) for value in one.values.values())
    )


def _one_sentence(rng: random.Random, one: Use, two: Use) -> str | None:
    """A request for ``one`` with the value of ``two`` after its own, where that reads well."""
    asked = request(rng, one)
    ((first,), (second,)) = (map(show, use.values.values()) for use in (one, two))
    quoted = any(mark in asked for mark in "(\"'")
    if quoted or asked.count(first) != 1 or first in one.tool.name:
        return None
    joint = rng.choice(("{} and {}", "{} and then {}", "{} and also {}"))
    return asked.replace(first, joint.format(first, second))


def follow_up(rng: random.Random, wanted: Use) -> str:
    """A user turn that asks for a use whose first argument is what was returned last."""
    _, *others = wanted.values.items()
    form = "follow_up" if others else "follow_up_alone"
    return rng.choice(catalogue().asks[form]).format(
        name=wanted.tool.name, args=", ".join(_named_if_coin(*other) for other in others)
    )


def _named_if_coin(name: str, value: Any) -> str:
    return f"{name} {show(value)}" if isinstance(value, bool) else show(value)


def relayed_request(rng: random.Random, first: Use, last: Use) -> str:
    """A user turn that asks for ``first``, and then for ``last`` with the result of it."""
    named = f"the {first.tool.result_key.replace('_', ' ')}"
    reference = rng.choice(("that", "it", "this", "the result", named))
    then = _with_first(rng, last, reference) or follow_up(rng, last)
    link = rng.choice((" and ", ", then ", " and then ", ". Then ", ". After that, ", ". ", "\n"))
    if not link.endswith((". ", "\n")):
        then = then[0].lower() + then[1:]
    return f"{request(rng, first).rstrip('.?')}{link}{then}"


def nested_request(rng: random.Random, first: Use, last: Use) -> str:
    """A user turn that asks for ``last``, with words for the result of ``first`` in it."""
    inner = _in_noun(rng, first)
    return _with_first(rng, last, inner) or _by_name_with_first(rng, last, inner)


def _with_first(rng: random.Random, wanted: Use, words: str) -> str | None:
    """The request in everyday words, ``words`` in place of the first argument, if there is one.

    Requests with that argument in quotes are left out: what they quote is meant to the letter.
    """
    asks = [ask for ask in wanted.tool.asks if '"{0}"' not in ask and "'{0}'" not in ask]
    if not asks:
        return None
    first = wanted.tool.params[0].name
    asked = Use(wanted.tool, {**wanted.values, first: words}).fill(rng.choice(asks))
    return capital(asked)


def _by_name_with_first(rng: random.Random, wanted: Use, words: str) -> str:
    templates = [text for text in catalogue().asks["by_name"] if "{bare}" not in text]
    _, *others = wanted.values.items()
    arguments = [words, *(f"{name} {show(value)}" for name, value in others)]
    return rng.choice(templates).format(name=wanted.tool.name, args=" and ".join(arguments))


def _in_noun(rng: random.Random, done: Use) -> str:
    """What the use returns, in words: "the sum of 3 and 4", "the result of pack_box for 7"."""
    head = done.tool.says.removesuffix(" is {v}.")
    named = head.startswith("The ") and head != done.tool.says
    if named and ("{0}" in head or not done.tool.params):
        return f"the {done.fill(head).removeprefix('The ')}"
    arguments = f" for {_in_words(rng, done)}" if done.values else ""
    return f"the result of {done.tool.name}{arguments}"
