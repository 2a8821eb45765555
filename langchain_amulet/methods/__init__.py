"""Steering methods as data: which streams, which weights, which mask.

A `Method` turns what the call's preferences bring (a `Guidance` each) into a plan. All of them are
one guidance with strengths, streams and masks of their own origin; ``l`` is a stream's
log-probability, and a model that isn't the one that answers is given by its name:

=================  ============================================================
`Base`             the conversation alone
`Pref`             the conversation with the preferences in its prompt
`LinearAlignment`  l_pref + ratio (l_pref - l_base)
`Amulet`           l_pref + d (l_pref - l_base), d derived from the paper's loop
`Iterated`         the paper's loop itself, for a utility of one's own
`ContextSteering`  l_base + sum_k w_k (1 + d_k) (l_k - l_base)
`Drift`            l_base + 1/beta sum_k p_k (l_k - l_base)
`PAD`              l_base + w (l_reward - l_base), on the top-k of l_base
`DeRa`             (1 - lam) l_reference + lam l_aligned
`ProxyTuning`      l_pref + s (l_expert - l_antiexpert)
=================  ============================================================

Those are decided token by token. `BestOf`, `GuidedReranking` and `BeamSearch` are searches: they
look at several whole answers.

Where `LinearAlignment` and `Amulet` are given several preferences, they combine them by context
steering; those of several layers, such as a user's stored ones and the call's, are nested: each
layer is measured against the prompt with the layers below it. For a stored layer s and the call's
on top, sc, that is ``l_sc + d_c (l_sc - l_s) + d_s (l_s - l_base)``.

This package knows neither tensors nor models, and no preference's text: only how strongly it pulls.
"""

from langchain_amulet.methods.amulet import Amulet, Iterated
from langchain_amulet.methods.best_of import BestOf
from langchain_amulet.methods.linear import ContextSteering, Drift, LinearAlignment
from langchain_amulet.methods.method import Guidance, Method
from langchain_amulet.methods.models import PAD, DeRa, ProxyTuning
from langchain_amulet.methods.plain import Base, Pref
from langchain_amulet.methods.registry import METHODS, as_method
from langchain_amulet.methods.searches import BeamSearch, GuidedReranking, Search
from langchain_amulet.methods.spec import spell
from langchain_amulet.methods.strengths import STRENGTHS, resolve_strength

__all__ = [
    "METHODS",
    "PAD",
    "STRENGTHS",
    "Amulet",
    "Base",
    "BeamSearch",
    "BestOf",
    "ContextSteering",
    "DeRa",
    "Drift",
    "Guidance",
    "GuidedReranking",
    "Iterated",
    "LinearAlignment",
    "Method",
    "Pref",
    "ProxyTuning",
    "Search",
    "as_method",
    "resolve_strength",
    "spell",
]
