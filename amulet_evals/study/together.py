"""What traits do together, as in presets, beside what each of them does alone.

An effect (see `amulet_evals.study.said`) is counted towards what is wished here: of less formal
answers it is above 0 where they are less formal than the plain ones.

Knows answers, traits and tables. Doesn't know how answers were decoded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from amulet_evals.reporting.bootstrap import Floats
from amulet_evals.reporting.tables import Cell, Table, cell
from amulet_evals.scorers.attributes import repetition
from amulet_evals.scorers.trait_measures import MEASURES
from amulet_evals.study.asked import written
from amulet_evals.study.said import Place, Said, plain, signs
from langchain_amulet.preferences.traits import PRESETS

COLUMNS = ("alone", "together", "repeated 4-grams, together")


def together_table(model: str, said: Sequence[Said]) -> Table:
    """A row for each trait of each preset that was answered by.

    Together is held against alone, and what is repeated against the plain answers.

    Args:
        model: The model's name.
        said: Its answers.
    """
    base = plain(said)
    styles = {each.style for each in said}
    rows = {
        f"{name}: {written(trait, level)}": _row(said, base, name, trait, level)
        for name, levels in PRESETS.items()
        for trait, level in levels.items()
        if name in styles
    }
    return Table(f"as wished: {model}", COLUMNS, rows, (None,) * len(COLUMNS))


def _row(
    said: Sequence[Said], base: Mapping[Place, Said], preset: str, trait: str, level: int
) -> tuple[Cell, ...]:
    def of(style: str) -> Floats:
        """Per question, whether an answer has more of what is wished than the plain one."""
        found = signs((each for each in said if each.style == style), base, MEASURES[trait])
        more = np.array([found.get(place, math.nan) for place in base])
        return more if level > 0 else 0.0 - more  # of none there is 0, not -0

    alone, together = of(written(trait, level)), of(preset)
    answers = [each for each in said if each.style == preset and each.place in base]
    repeated = np.array([repetition(each.text) for each in answers])
    plainly = np.array([repetition(base[each.place].text) for each in answers])
    return cell(alone, alone), cell(together, together - alone), cell(repeated, repeated - plainly)
