"""Decoding of steered requests, with local models or on a server: token ids in, token ids out.

Knows no text and no LangChain. Read ``engine`` for the caller's side, ``scheduler`` for the loop,
``ensemble`` for the models of a step, ``backends`` for what runs each of them, ``sampler`` for
their tokens, ``remote`` for what a server decodes.
"""

from langchain_amulet.engine.backends import HuggingFaceModel, LoadedModel, LoadOptions, load
from langchain_amulet.engine.backends.base import CacheScope
from langchain_amulet.engine.beam_search import BeamResult
from langchain_amulet.engine.engine import Engine
from langchain_amulet.engine.loading.model_info import declared_context
from langchain_amulet.engine.model_runtime import AnyEngine, ModelRuntime, acquire, release
from langchain_amulet.engine.request import Constraint, Finish, Pause, Request, Token, Trace
from langchain_amulet.engine.stats import Stats
from langchain_amulet.engine.token_stream import DraftCounts, TokenStream

__all__ = [
    "AnyEngine",
    "BeamResult",
    "CacheScope",
    "Constraint",
    "DraftCounts",
    "Engine",
    "Finish",
    "HuggingFaceModel",
    "LoadOptions",
    "LoadedModel",
    "ModelRuntime",
    "Pause",
    "Request",
    "Stats",
    "Token",
    "TokenStream",
    "Trace",
    "acquire",
    "declared_context",
    "load",
    "release",
]
