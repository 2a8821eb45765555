"""Texts that a schema's grammar lets through, drawn at random without a model."""

import random

import numpy as np

from langchain_amulet.grammar import GrammarCompiler, json_rule
from support.schemas import Schema
from support.tokenizers import byte_level

TOKENIZER = byte_level()
STOP: int = TOKENIZER.eos_token_id
COMPILER = GrammarCompiler(TOKENIZER, len(TOKENIZER))


def sampled(schema: Schema, count: int, seed: int = 0, limit: int = 300) -> list[str]:
    """So many texts that are valid by a schema, of ``limit`` tokens at the most."""
    dice = random.Random(seed)
    return [_text(schema, dice, limit) for _ in range(count)]


def _text(schema: Schema, dice: random.Random, limit: int) -> str:
    rule = f"start: {json_rule(schema)}"
    grammar = COMPILER.compile(rule, limit, frozenset({STOP}))
    ids: list[int] = []
    while True:
        token = int(dice.choice(np.flatnonzero(grammar.allowed().numpy())))
        if token == STOP:
            return str(TOKENIZER.decode(ids))
        if grammar.accept(token):
            ids.append(token)
