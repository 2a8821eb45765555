"""Decoding of steered requests with local models: token ids in, token ids out.

Knows no text and no LangChain. Read ``engine`` for the caller's side, ``core`` for the loop,
``ensemble`` for the models of a step, ``lockstep`` for the forward pass of one, ``choice`` for one
token.
"""

from langchain_amulet.engine.beams import Found
from langchain_amulet.engine.core import Stats
from langchain_amulet.engine.engine import Engine
from langchain_amulet.engine.generation import Generation
from langchain_amulet.engine.loading import (
    LoadedModel,
    LoadOptions,
    Runtime,
    acquire,
    declared_context,
    load,
)
from langchain_amulet.engine.request import Constraint, Finish, Pause, Request, Token, Trace

__all__ = [
    "Constraint",
    "Engine",
    "Finish",
    "Found",
    "Generation",
    "LoadOptions",
    "LoadedModel",
    "Pause",
    "Request",
    "Runtime",
    "Stats",
    "Token",
    "Trace",
    "acquire",
    "declared_context",
    "load",
]
