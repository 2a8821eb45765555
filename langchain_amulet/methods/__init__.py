"""Steering methods as data: which streams, which weights, which mask, and how to choose.

A `Method` turns what the call's preferences bring (a `Guidance` each) into a plan. All of them are
one guidance with strengths, streams and masks of their own origin; ``l`` is a stream's
log-probability, and a model that isn't the one that answers is given by its name:

=================  ============================================================
`Base`             the conversation alone
`Pref`             the conversation with the preferences in its prompt
`LinearAlignment`  l_pref + ratio (l_pref - l_base)
`Amulet`           l_pref + d (l_pref - l_base), d derived from the paper's loop
`Auto`             the same, no further than a bound lets each token go
`Iterated`         the paper's loop itself, for a utility of one's own
`ContextSteering`  l_base + sum_k w_k (1 + d_k) (l_k - l_base)
`Drift`            l_base + 1/beta sum_k p_k (l_k - l_base)
`PAD`              l_base + w (l_reward - l_base), on the top-k of l_base
`DeRa`             (1 - lam) l_reference + lam l_aligned
`ProxyTuning`      l_pref + s (l_expert - l_antiexpert)
=================  ============================================================

Those are decided token by token. Searches look at several whole answers:

=================  ============================================================
`BestOf`           n samples, ranked by a scorer
`GuidedReranking`  n samples, ranked by sum_t l_pref + d (l_pref - l_base)
`BeamSearch`       the likeliest answer that n beams find
=================  ============================================================

Where `LinearAlignment` and `Amulet` are given several preferences, they combine them by context
steering; those of several layers, such as a user's stored ones and the call's, are nested: each
layer is measured against the prompt with the layers below it. For a stored layer s and the call's
on top, sc, that is ``l_sc + d_c (l_sc - l_s) + d_s (l_s - l_base)``.

Each is found by its name in `METHODS`, where one's own are registered, too: see
docs/extending/method.md.

Knows neither tensors nor models, and no preference's text: only how strongly it guides.
"""

from langchain_amulet.methods.amulet import Amulet
from langchain_amulet.methods.auto import Auto
from langchain_amulet.methods.beam_search import BeamSearch
from langchain_amulet.methods.best_of import BestOf
from langchain_amulet.methods.context_steering import ContextSteering
from langchain_amulet.methods.dera import DeRa
from langchain_amulet.methods.drift import Drift
from langchain_amulet.methods.guidance import Guidance, prompted
from langchain_amulet.methods.guided_reranking import GuidedReranking
from langchain_amulet.methods.iterated import Iterated
from langchain_amulet.methods.linear_alignment import LinearAlignment
from langchain_amulet.methods.method import CODE, Method, unique_key
from langchain_amulet.methods.pad import PAD
from langchain_amulet.methods.plain import Base, Pref
from langchain_amulet.methods.proxy_tuning import ProxyTuning
from langchain_amulet.methods.registry import METHODS, register
from langchain_amulet.methods.search import BeamPlan, Candidate, Ranking, SearchPlan
from langchain_amulet.methods.spec import as_method, spell
from langchain_amulet.methods.strengths import STRENGTHS, resolve_strength

__all__ = [
    "CODE",
    "METHODS",
    "PAD",
    "STRENGTHS",
    "Amulet",
    "Auto",
    "Base",
    "BeamPlan",
    "BeamSearch",
    "BestOf",
    "Candidate",
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
    "Ranking",
    "SearchPlan",
    "as_method",
    "prompted",
    "register",
    "resolve_strength",
    "spell",
    "unique_key",
]
