"""How answers look in a terminal: tokens coloured by how far steering moved them.

Knows rich and plain dicts of trace entries; nothing of models or LangChain.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from langchain_amulet.trace import SHADES, TraceEntry, as_factor, distance, level, ratio


def coloured(trace: Iterable[TraceEntry]) -> Text:
    """The answer, each token in the shade of how far it was moved.

    A character that is spread over several tokens has the shade of the last.
    """
    utf8 = codecs.getincrementaldecoder("utf-8")("replace")
    pieces = [(utf8.decode(bytes(entry["bytes"])), _style(entry)) for entry in trace]
    return Text.assemble(*pieces, utf8.decode(b"", final=True))


class Legend:
    """What the shades mean, for the foot of a comparison; nothing where no colours are shown."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        if console.color_system is None or console.no_color:
            return
        named = [(f"x{least:g} or more", style) for least, style in SHADES[1:]]
        parts = [part for pair in named for part in (pair, ("  ", ""))]
        yield Text.assemble(("made likelier or less likely by steering: ", "dim"), *parts)


def why(trace: Sequence[TraceEntry], limit: int) -> Table:
    """The tokens that steering moved the furthest, in the answer's order."""
    furthest = sorted(range(len(trace)), key=lambda i: distance(ratio(trace[i])), reverse=True)
    table = Table("token", "base", "prompted", "steered", "steered / prompted")
    for i in sorted(furthest[:limit]):
        entry = trace[i]
        table.add_row(
            Text(repr(entry["token"]), _style(entry)),
            "-" if entry["base"] is None else f"{entry['base']:.1%}",
            f"{entry['pref']:.1%}",
            f"{entry['steered']:.1%}",
            as_factor(ratio(entry)),
        )
    return table


def _style(entry: TraceEntry) -> str:
    return SHADES[level(ratio(entry))][1]
