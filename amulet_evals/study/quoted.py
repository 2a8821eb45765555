"""What a style must leave as it is: code, sentences, names and numbers that are given back.

Knows answers and tables. Doesn't know how answers were decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from amulet_evals.reporting.bootstrap import Floats
from amulet_evals.reporting.results import mean_of
from amulet_evals.reporting.tables import Table, compared
from amulet_evals.study.said import BASELINE, Said


def kept_table(model: str, said: Sequence[Said], keeps: Mapping[str, Sequence[str]]) -> Table:
    """Shares of answers that hold what they were to give back, letter by letter.

    Args:
        model: The model's name.
        said: Its answers.
        keeps: By kind what was to be given back, in the order of the scripts.
    """
    methods = tuple(dict.fromkeys(each.method for each in said))
    numbers = {
        method: [
            _kept((each for each in said if each.method == method), kind, texts)
            for kind, texts in keeps.items()
        ]
        for method in methods
    }
    rows = compared(numbers, BASELINE)
    return Table(f"given back as it was: {model}", tuple(keeps), rows, (None,) * len(keeps))


def _kept(said: Iterable[Said], kind: str, texts: Sequence[str]) -> Floats:
    """For each text the share of answers that hold it, over styles; NaN where there is none."""
    places = {f"{kind} {at}": at for at in range(len(texts))}
    found: list[list[float]] = [[np.nan] for _ in texts]
    for each in said:
        if (at := places.get(each.script)) is not None:
            found[at].append(float(texts[at] in each.text))
    return np.array([mean_of(np.array(each)) for each in found])
