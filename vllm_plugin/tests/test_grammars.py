"""Grammars on a vLLM server: an answer's rows are held to its own, and nobody else's."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from transformers import AutoTokenizer

from langchain_amulet.engine import Engine, Request
from langchain_amulet.engine.loading.hub import POCKET_FOLDER
from langchain_amulet.engine.remote import RemoteEngine
from langchain_amulet.errors import GenerationError
from langchain_amulet.grammar import Grammar, GrammarCompiler, json_rule
from langchain_amulet.sampling import SamplingParams
from support.stream_groups import GREEDY, PLANS, request

STOPS = frozenset({2})
TOKENS = 48
HOT = SamplingParams(temperature=1.5, seed=7)
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "hobbies": {"type": "array", "items": {"enum": ["chess", "running"]}, "maxItems": 3},
    },
    "required": ["name", "age", "hobbies"],
}
COLOUR = {"enum": ["red", "green", "blue"]}


@pytest.fixture(scope="session")
def compiler() -> GrammarCompiler:
    tokenizer = AutoTokenizer.from_pretrained(POCKET_FOLDER)
    return GrammarCompiler(tokenizer, len(tokenizer))


def grammar(compiler: GrammarCompiler, schema: Mapping[str, Any]) -> Grammar:
    """One answer's: made for one engine, and used up by it."""
    return compiler.compile(f"start: {json_rule(schema)}", TOKENS, STOPS)


def ids(engine: Engine | RemoteEngine, requests: list[Request]) -> list[list[int]]:
    streams = [engine.submit(each) for each in requests]
    return [[token.id for token in stream] for stream in streams]


@pytest.mark.parametrize("sampling", [GREEDY, HOT], ids=["greedy", "hot"])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_an_answer_is_valid_and_the_one_of_our_own_engine(
    local, remote, compiler, plan, sampling
) -> None:
    found = [
        ids(engine, [held(grammar(compiler, PERSON), plan=plan, sampling=sampling)])
        for engine in (local, remote)
    ]
    assert found[0] == found[1]
    person = json.loads(compiler._tokenizer.decode(found[1][0]))
    assert person.keys() == {"name", "age", "hobbies"}
    assert 0 <= person["age"] <= 120 and len(person["name"]) <= 12


def test_answers_under_grammars_and_free_ones_decode_together(local, remote, compiler) -> None:
    def asked() -> list[Request]:
        schemas = [PERSON, None, COLOUR, None, PERSON, COLOUR]
        return [
            held(schema and grammar(compiler, schema), number=number, plan=plan, sampling=HOT)
            for plan in PLANS.values()
            for number, schema in enumerate(schemas)
        ]

    assert ids(remote, asked()) == ids(local, asked())


class Foreign:
    """What another release of this package might write."""

    def __init__(self, lark: str) -> None:
        self.spec = {"lark": lark, "ends": [], "turn": None}


@pytest.mark.parametrize(
    "lark",
    ["start: nothing", 'start: /[a-z]{400}/ "!"', 'start: %json {"type": "no such"}', "start: ("],
    ids=["undefined", "longer than its tokens", "no schema", "no grammar"],
)
def test_a_grammar_that_cannot_be_held_to_there_gets_an_error_and_no_token(
    local, remote, compiler, lark: str
) -> None:
    beside = held(grammar(compiler, PERSON), number=3)
    expected = ids(local, [held(grammar(compiler, PERSON), number=3)])
    others, failing = remote.submit(beside), remote.submit(held(Foreign(lark), number=4))
    with pytest.raises(GenerationError, match="can't hold it to the answer's grammar"):
        next(failing)
    assert [[token.id for token in others]] == expected


def held(constraint: object, **more: Any) -> Request:
    """A request under a constraint."""
    return request(constraint=constraint, max_tokens=TOKENS, stop_ids=STOPS, **more)
