"""Ways out of an answer: found soon however long they are, and out of texts that needn't end."""

import json
import random
from itertools import pairwise

import jsonschema
import llguidance.hf
import pytest
from llguidance import LLMatcher

from langchain_amulet.errors import SchemaError
from langchain_amulet.grammar import GrammarCompiler, constraint, json_rule, shortest_ending
from langchain_amulet.grammar.json_schema import MOST_LETTERS, text_forms
from langchain_amulet.grammar.shortest_ending import EndingSearch
from langchain_amulet.grammar.vocabulary import Vocabulary
from langchain_amulet.grammar.walk import Effort
from support.grammars import COMPILER, PADDED, STOP, TOKENIZER, grammar_of, written
from support.schemas import INTEGER, SCHEMAS, SHORT, Schema, listed, obj

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
    long = {name: {"type": "string", "pattern": f"^[ab]{{900}}{name}$"} for name in names}
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
