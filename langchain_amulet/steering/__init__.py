"""The maths of steering: from log-probabilities of several prompts to one set of scores.

Every method of the family is one form (a `Plan`): an anchor stream, weighted contrasts between
streams, a mask and a cap on how far the result may move::

    score = l_anchor + sum_k w_k (l_plus_k - l_minus_k),  then the mask,  then the cap

where ``l`` is a stream's log-probability of the next token. Amulet itself is the form with one
contrast, whose weight `strength` derives in advance; `iterate` is the loop that it replaces, and
what a plan with a `Solver` runs for utilities that have no such form.

This package knows tensors only: nothing of tokens as text, of requests, of sampling; models are
names to it.
"""

from langchain_amulet.steering.combine import (
    Steered,
    agreement,
    combine,
    floors,
    kept,
    kl,
    levelled,
    mixture,
    steer,
)
from langchain_amulet.steering.masks import Mask, Plausibility, TopK, TopP
from langchain_amulet.steering.optimiser import Utility, amulet_utility, iterate, strength
from langchain_amulet.steering.plan import Contrast, Plan, Solver, Stream, strengths
from langchain_amulet.steering.plan_batch import PlanBatch

__all__ = [
    "Contrast",
    "Mask",
    "Plan",
    "PlanBatch",
    "Plausibility",
    "Solver",
    "Steered",
    "Stream",
    "TopK",
    "TopP",
    "Utility",
    "agreement",
    "amulet_utility",
    "combine",
    "floors",
    "iterate",
    "kept",
    "kl",
    "levelled",
    "mixture",
    "steer",
    "strength",
    "strengths",
]
