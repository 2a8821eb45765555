"""Grammars on answers: what is decoded under one is valid by it, however it is steered.

Grammars are written in llguidance's dialect of Lark, with JSON schemas in them. Knows tokens and
schemas. Doesn't know models, prompts or how a token is chosen among those that are allowed.
"""

from langchain_amulet.grammar.compiler import GrammarCompiler
from langchain_amulet.grammar.constraint import Grammar
from langchain_amulet.grammar.json_schema import json_rule
from langchain_amulet.grammar.resumption import Resumption

__all__ = ["Grammar", "GrammarCompiler", "Resumption", "json_rule"]
