"""Arguments one after the other as rules of a grammar: those that are required, others perhaps.

This module knows which arguments follow each other: nothing of how one is written.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_amulet.chat_formats.calls import Parameter


def argument_rules(name: str, parameters: Sequence[Parameter], separator: str = "") -> list[str]:
    """The rule ``name``: all arguments of a call, in the order of their schema.

    Args:
        name: What the rule is called. An argument's rule is the name, ``_`` and its index, and is
            written by the caller.
        parameters: The arguments.
        separator: The symbol of what stands between two of them.
    """
    rules = []
    # From the last to the first: what follows once an argument was written, and what if none was.
    later, first = '""', '""'
    for index, parameter in reversed(list(enumerate(parameters))):
        each = f"{name}_{index}"
        rules += [f"{each}_later: {later}", f"{each}_none: {first}"]
        follows = f"{separator} {each}".strip()
        is_required = parameter.is_required
        later = f"{follows if is_required else f'({follows})?'} {each}_later"
        first = f"{each} {each}_later" + ("" if is_required else f" | {each}_none")
    return [f"{name}: {first}", *rules]
