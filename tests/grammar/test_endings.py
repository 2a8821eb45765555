"""Ways out of an answer: found soon however long they are, and out of texts that needn't end."""

import json
import random
import re
from collections.abc import Callable
from itertools import pairwise, permutations

import jsonschema
import llguidance.hf
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher

from langchain_amulet.errors import ContextLengthError, SchemaError
from langchain_amulet.grammar import (
    Grammar,
    GrammarCompiler,
    compiler,
    constraint,
    json_rule,
    shortest_ending,
)
from langchain_amulet.grammar.json_schema import MOST_LETTERS, text_forms
from langchain_amulet.grammar.shortest_ending import EndingSearch
from langchain_amulet.grammar.vocabulary import Vocabulary
from langchain_amulet.grammar.walk import Effort
from support.grammars import COMPILER, LIMIT, PADDED, STOP, TOKENIZER, grammar_of, written
from support.schemas import INTEGER, SCHEMAS, SHORT, STRING, Schema, listed, obj

PLENTY = 100_000
"""Tokens, which no answer here needs."""

TOKENS = llguidance.hf.from_tokenizer(TOKENIZER, n_vocab=PADDED)
VOCABULARY = Vocabulary(TOKENS)


def random_token(matcher: LLMatcher, rng: random.Random) -> int:
    bits = matcher.compute_bitmask()
    return rng.choice([each for each in range(PADDED) if bits[each >> 3] >> (each & 7) & 1])


def spent(schema: Schema, tokens: int) -> tuple[int, float]:
    """How many tokens the shortest answer has, and what following some random ones costs."""
    rule, rng = "start: " + json_rule(schema), random.Random(0)
    matcher = LLMatcher(TOKENS, LLMatcher.grammar_from_lark(rule))
    search = EndingSearch(VOCABULARY, (), text_forms(rule))
    way = search.start(matcher, PLENTY)
    assert way is not None
    shortest, effort = len(way), Effort(left=1e9)
    for _ in range(tokens):
        token = random_token(matcher, rng)
        matcher.consume_token(token)
        way = search.follow(way, token, matcher, PLENTY, effort)
        assert way is not None
    return shortest, 1e9 - effort.left


@pytest.mark.parametrize("item", [INTEGER, obj(["a", "b"], a=INTEGER, b=SHORT), listed(INTEGER)])
def test_what_a_token_costs_grows_no_faster_than_the_shortest_answer(item: Schema) -> None:
    counts = [spent(listed(item, minItems=number), 100) for number in (30, 100, 300)]
    for (short, cheap), (long, dear) in pairwise(counts):
        assert dear / cheap < 1.5 * long / short


def test_a_search_for_the_first_way_is_over_after_some_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shortest_ending, "LONGEST", 0.05)
    with pytest.raises(SchemaError, match=r"after \d+ tokens .+minItems"):
        grammar_of("start: " + json_rule(listed(INTEGER, minItems=PLENTY)), PLENTY)


def test_without_a_clock_it_is_over_after_as_many_tokens_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shortest_ending, "MOST", 20_000)
    monkeypatch.setattr(shortest_ending, "LONGEST", 0.0)
    compiler = GrammarCompiler(TOKENIZER, PADDED, is_timed=False)
    rule = "start: " + json_rule(listed(INTEGER, minItems=PLENTY))
    told = set()
    for limit in (PLENTY, 20):  # the latter is too few, which is told with how many are enough
        with pytest.raises(SchemaError, match=r"after \d+ tokens .+minItems") as caught:
            compiler.compile(rule, limit, frozenset({STOP}))
        told.add(str(caught.value))
    assert len(told) == 1


@pytest.mark.parametrize("name", ["invoice", "tree", "any object", "pattern or nothing", "email"])
def test_who_may_try_nothing_more_ends_whole_all_the_same(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(constraint, "AT_ONCE", 0)
    for seed in range(3):
        answer = written(grammar_of("start: " + json_rule(SCHEMAS[name]), 640), seed, 640)
        jsonschema.validate(json.loads(answer), SCHEMAS[name])


def test_of_properties_that_all_take_long_the_one_with_an_end_is_chosen() -> None:
    node = obj(["v"], l={"$ref": "#/$defs/node"}, v=listed(INTEGER, minItems=100))
    schema = {"$defs": {"node": node}, "$ref": "#/$defs/node"}
    answer = written(grammar_of("start: " + json_rule(schema), 400), 0, 400)
    jsonschema.validate(json.loads(answer), schema)


def test_forms_beyond_so_many_letters_are_not_looked_at() -> None:
    names = [f"p{index}" for index in range(40)]
    long = {name: {"type": "string", "pattern": f"^[ab]{{450}}{name}$"} for name in names}
    forms = text_forms("start: " + json_rule(obj(names, **long)))
    assert 0 < len(forms) < len(names)
    assert sum(len(text) for form in forms[:-1] for text in form.endings) <= MOST_LETTERS


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        (r'"<" /\w+/ ">"', "<a>"),
        (r'"<" /\w*/ ">"', "<>"),
        (r'/[a-z]+/ "=" /\d{3,}/ ";"', "a=000;"),
        (r'/(ab)+/ "c"', "abc"),
        (r'/[^;]+/ ";"', "x;"),
        (r'/\w+/ "(" %json {"type": "integer"} ")"', "a(0)"),
        (rf"/\w+/ {COMPILER.spell('<tool_call>')}", "a<tool_call>"),
    ],
)
def test_a_text_that_may_go_on_for_ever_is_left_as_soon_as_it_may_be(
    rule: str, answer: str
) -> None:
    needed = len(TOKENIZER.encode(answer, add_special_tokens=False)) + 3
    for seed in range(3):
        grammar = COMPILER.compile("start: " + rule, needed, frozenset({STOP}))
        assert written(grammar, seed, needed)


@pytest.mark.parametrize("rule", ['start: "\ud800"', "start: /\udfff+/", "\ud800"])
def test_half_a_character_in_a_grammar_is_refused(rule: str) -> None:
    with pytest.raises(SchemaError, match="whole characters"):
        COMPILER.compile(rule, 20, frozenset({STOP}))
    with pytest.raises(SchemaError, match="whole characters"):
        COMPILER.check(rule)


def test_half_a_character_in_what_ends_a_part_is_refused() -> None:
    with pytest.raises(SchemaError, match="whole characters"):
        COMPILER.compile('start: "a"', 20, frozenset({STOP}), ("\ud800",))


def least(length: int) -> Schema:
    return {**STRING, "minLength": length}


LONG: dict[str, Callable[[int], Schema]] = {
    "alone": least,
    "in an object": lambda length: obj(a=least(length), b=INTEGER),
    "in a list": lambda length: listed(least(length), minItems=1),
    "in one of two cases": lambda length: {"anyOf": [obj(a=least(length)), obj(b=least(length))]},
    "of no other length": lambda length: {**least(length), "maxLength": length},
    "with a pattern": lambda length: {**least(length), "pattern": "^[a-z ]+$"},
    "of two letters": lambda length: {**least(length), "pattern": "^[xy]*$"},
    "beside a pattern": lambda length: obj(
        a=least(length), b={**STRING, "pattern": "^[a-f0-9]{64}$"}, c=least(length // 2)
    ),
    "counted by a pattern": lambda length: {**STRING, "pattern": f"^[a-z]{{{length},}}$"},
    "counted to the end": lambda length: {**STRING, "pattern": f"^[A-Z]{{{length}}}-[0-9]{{3}}$"},
    "counted twice": lambda length: {**STRING, "pattern": f"^[a-z]{{{length}}} [0-9]{{{length}}}$"},
}
"""Schemas of texts that must have so many characters."""


def ended(grammar: Grammar) -> str:
    """The answer that is left where there is no token to spare."""
    ids: list[int] = []
    while not (mask := grammar.allowed())[STOP]:
        (token,) = mask.nonzero()[:, 0].tolist()
        assert grammar.accept(token)
        ids.append(token)
    return str(TOKENIZER.decode(ids))


def enough_for(rule: str) -> int:
    """How many tokens a refusal says are enough."""
    with pytest.raises(ContextLengthError, match="raise max_tokens to") as caught:
        grammar_of(rule, 1)
    (enough,) = re.findall(r"to (\d+) or more", str(caught.value))
    return int(enough)


@pytest.mark.parametrize("name", LONG)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(length=st.integers(1, 1900))
@example(length=650)
@example(length=1000)
def test_a_text_of_any_length_is_ended_with_as_many_tokens_as_are_said_to_be_enough(
    name: str, length: int
) -> None:
    schema = LONG[name](length)
    rule = "start: " + json_rule(schema)
    answer = ended(grammar_of(rule, enough_for(rule)))
    jsonschema.validate(json.loads(answer), schema)
    texts = 2 if name in ("counted twice", "beside a pattern") else 1
    assert len(answer) < texts * length + 150


@settings(max_examples=5, deadline=None, derandomize=True)
@given(length=st.integers(1, 400))
def test_a_list_of_any_length_is_ended_with_as_many_tokens_as_are_said_to_be_enough(
    length: int,
) -> None:
    schema = obj(a=listed(INTEGER, minItems=length), b=STRING)
    rule = "start: " + json_rule(schema)
    answer = json.loads(ended(grammar_of(rule, enough_for(rule))))
    assert (len(answer["a"]), answer["b"]) == (length, "")


@pytest.mark.parametrize("name", ["in an object", "of no other length", "counted by a pattern"])
def test_a_text_of_tens_of_thousands_of_characters_is_held_where_there_is_room(name: str) -> None:
    schema = LONG[name](30_000)
    grammar = grammar_of("start: " + json_rule(schema), PLENTY)
    start = '{"a": "' if name == "in an object" else '"'
    for token in TOKENIZER.encode(start + "hello", add_special_tokens=False)[:4]:
        assert grammar.allowed()[token]
        assert grammar.accept(token)


@pytest.mark.parametrize("length", [1000, 30_000])
def test_a_text_too_long_for_its_tokens_is_refused_for_that(length: int) -> None:
    told = (
        rf"max_tokens .+ 100 tokens are too few .+a text by minLength {length} alone has {length} "
    )
    with pytest.raises(ContextLengthError, match=told):
        grammar_of("start: " + json_rule(LONG["in an object"](length)), 100)


@pytest.mark.parametrize("states", [250, 600])
def test_answers_are_valid_though_matchers_have_no_room_for_what_they_read(
    monkeypatch: pytest.MonkeyPatch, states: int
) -> None:
    """All answers under one grammar share that room, so each leaves the next one less."""
    monkeypatch.setattr(compiler, "MOST_STATES", states)
    narrow = GrammarCompiler(TOKENIZER, PADDED)
    schema = obj(a={**least(60), "maxLength": 120}, b=INTEGER)
    for seed in range(3):
        grammar = narrow.compile("start: " + json_rule(schema), LIMIT, frozenset({STOP}))
        jsonschema.validate(json.loads(written(grammar, seed)), schema)


def test_an_answer_ends_whole_where_not_even_a_new_matcher_has_room_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiler, "MOST_STATES", 55)
    narrow = GrammarCompiler(TOKENIZER, PADDED)
    schema, are_blind = SCHEMAS["address"], []
    for seed in range(3):
        grammar = narrow.compile("start: " + json_rule(schema), 4 * LIMIT, frozenset({STOP}))
        jsonschema.validate(json.loads(written(grammar, seed, 4 * LIMIT)), schema)
        are_blind.append(grammar._is_blind)
    assert any(are_blind)


REF: Schema = {"$ref": "#/$defs/Expression"}
EXPRESSIONS: dict[str, Schema] = {
    "two of them": obj(op={"enum": ["+", "-"]}, left=REF, right=REF),
    "one of them": obj(op={"const": "neg"}, of=REF),
    "a list of them": obj(op={"const": "call"}, of=listed(REF, minItems=1), then=REF),
    "none": obj(op={"const": "num"}, value=INTEGER),
}
"""Cases of an expression, by how many expressions are in it."""


@pytest.mark.parametrize("order", list(permutations(EXPRESSIONS)), ids="; ".join)
def test_a_tree_is_ended_by_the_only_case_that_has_no_tree_in_it(order: tuple[str, ...]) -> None:
    """All others go on for ever, and so does one that begins with the same letter."""
    cases = [EXPRESSIONS[name] for name in order]
    schema = {**obj(e=REF), "$defs": {"Expression": {"anyOf": cases}}}
    rule = "start: " + json_rule(schema)
    answer = json.loads(ended(grammar_of(rule, enough_for(rule))))
    assert answer == {"e": {"op": "num", "value": 0}}
