"""Answers under a grammar: always valid, whole within any limit, and refused only with a reason."""

import bisect
import json
import random
import re
from typing import Any

import jsonschema
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_amulet.engine import Constraint, Request
from langchain_amulet.errors import ContextLengthError, SchemaError
from langchain_amulet.grammar import Grammar, GrammarCompiler, json_rule
from langchain_amulet.grammar.guidance_words import reason_of
from langchain_amulet.grammar.json_position import JsonPosition
from langchain_amulet.methods import Amulet, Guidance
from support.draws import next_token
from support.grammars import (
    COMPILER,
    HOT,
    LIMIT,
    PADDED,
    STOP,
    TOKENIZER,
    grammar_of,
    written,
)
from support.schemas import (
    ENDLESS,
    INTEGER,
    PATTERNS,
    REAL_LIFE,
    REFUSED,
    REWRITTEN,
    SCHEMAS,
    SHORT,
    Schema,
    listed,
    obj,
)
from support.tokenizers import byte_fallback, byte_level

SAMPLES = 2
"""Per schema; ``python -m benchmarks.validity`` makes thousands, with whole models."""


def grammar_in(request: Request) -> Constraint:
    assert request.constraint is not None
    return request.constraint


def test_there_are_at_least_sixty_schemas() -> None:
    assert len(SCHEMAS) >= 60


@pytest.mark.parametrize("name", SCHEMAS)
def test_whatever_a_hot_steered_random_model_writes_is_valid(name: str) -> None:
    schema, limit = SCHEMAS[name], 640 if name in REAL_LIFE else LIMIT
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    for seed in range(SAMPLES):
        answer = written(grammar_of("start: " + json_rule(schema), limit), seed, limit)
        validator.validate(json.loads(answer))


@pytest.mark.parametrize("name", REFUSED)
def test_a_schema_that_cannot_be_compiled_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(SchemaError, match=r"A schema must be .+, but: \S.+") as caught:
        grammar_of("start: " + json_rule(REFUSED[name]))
    assert "\n" not in str(caught.value)


def test_the_reason_names_the_keyword_and_its_place() -> None:
    with pytest.raises(SchemaError, match="uniqueItems at #/properties/a"):
        grammar_of("start: " + json_rule(REFUSED["unique items"]))


def test_a_pattern_that_is_too_large_is_refused_in_words() -> None:
    words = {"type": "string", "pattern": r"^$|(^(?:\S+\s+){0,99}\S+$)", "maxLength": 5000}
    with pytest.raises(SchemaError, match=r"pattern .+ at #/properties/words is too large"):
        grammar_of("start: " + json_rule(obj(words=words)))


def test_the_reason_is_said_in_a_line_without_the_grammar() -> None:
    """Fails where llguidance says it otherwise: `guidance_words` is the place to read that."""
    reason = r"Unsatisfiable schema: minimum \(5\) is greater than maximum \(3\)"
    with pytest.raises(SchemaError, match=rf"but: {reason}\. Take"):
        grammar_of("start: " + json_rule({"type": "integer", "minimum": 5, "maximum": 3}))


def test_what_llguidance_says_in_a_layout_that_is_not_known_is_told_whole() -> None:
    assert reason_of("one\n   two\n   ^^^\n\nthree:\n four") == "one, two, three: four"


def test_a_schema_that_no_text_is_long_enough_for_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"but: \S.+"):
        grammar_of("start: " + json_rule(ENDLESS))


def takes(schema: Schema, value: Any, limit: int = LIMIT) -> bool:
    """Whether the grammar takes the value, as the tokenizer spells it."""
    ids = TOKENIZER.encode(json.dumps(value), add_special_tokens=False)
    return accepts(grammar_of("start: " + json_rule(schema), limit), ids)


def accepts(grammar: Grammar, ids: list[int]) -> bool:
    """Whether an answer may be these tokens."""
    for token in ids:
        if not grammar.allowed()[token] or not grammar.accept(token):
            return False
    return bool(grammar.allowed()[STOP])


@pytest.mark.parametrize(
    ("kind", "value", "is_one"),
    [
        ("date", "2024-02-29", True),
        ("date", "2000-02-29", True),
        ("date", "1900-02-29", False),
        ("date", "2023-02-29", False),
        ("date", "2023-04-31", False),
        ("date", "0000-01-01", False),
        ("time", "23:59:59.5Z", True),
        ("time", "23:59:60Z", False),
        ("date-time", "2016-12-31T23:59:59+01:00", True),
        ("date-time", "2016-12-31T23:59:60Z", False),
        ("date-time", "2015-02-29T00:00:00Z", False),
    ],
)
def test_dates_and_times_are_those_that_there_are(kind: str, value: str, is_one: bool) -> None:
    assert takes({"type": "string", "format": kind}, value) is is_one


@pytest.mark.parametrize("more", [{}, {"maxLength": 300}])
def test_a_host_has_no_longer_name_than_the_network_allows(more: dict[str, int]) -> None:
    schema = {"type": "string", "format": "hostname", **more}
    labels = ["a" * 62] * 4  # 251 characters, with the dots between them
    assert takes(schema, ".".join([*labels, "a"]), limit=600)
    assert not takes(schema, ".".join([*labels, "aa"]), limit=600)
    assert takes({**schema, "maxLength": 3}, "a.b")
    assert not takes({**schema, "maxLength": 3}, "ab.c")


def test_too_few_tokens_for_any_answer_are_refused_before_decoding() -> None:
    with pytest.raises(ContextLengthError, match="max_tokens must leave room"):
        grammar_of("start: " + json_rule(SCHEMAS["nested"]), limit=5)


@pytest.mark.parametrize("name", ["string", "array", "tree", "linked list", "any object", "open"])
@pytest.mark.parametrize("limit", [40, 60, 90])
def test_an_answer_ends_whole_however_near_the_limit(name: str, limit: int) -> None:
    schema = SCHEMAS[name]
    for seed in range(3):
        answer = written(grammar_of("start: " + json_rule(schema), limit), seed, limit)
        jsonschema.validate(json.loads(answer), schema)


BIG = obj(["k"], k=INTEGER, big=obj(**{f"f{i}": obj(x=INTEGER, y=INTEGER) for i in range(8)}))
"""Its optional part takes many tokens more than all the rest."""


def test_what_could_not_be_ended_in_time_is_not_begun() -> None:
    for limit in (40, 100):
        for seed in range(20):
            answer = written(grammar_of("start: " + json_rule(BIG), limit), seed, limit)
            jsonschema.validate(json.loads(answer), BIG)


FALLBACK = byte_fallback()


def spelled(tokenizer: Any, ids: list[int]) -> str:
    """An answer that begins in the middle of a text: no space before it is taken away."""
    before = tokenizer.encode("x", add_special_tokens=False)
    return str(tokenizer.decode([*before, *ids])).removeprefix(str(tokenizer.decode(before)))


KEYWORDS = st.sampled_from(sorted({*PATTERNS, *REWRITTEN, "date", "email", "enum of anything"}))
PARTS = KEYWORDS.map(lambda name: SCHEMAS[name]).filter(lambda schema: "$defs" not in schema)


@st.composite
def composed(draw: st.DrawFn) -> Schema:
    """An object whose properties are schemas of the table, required, optional, null or listed."""
    names = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True))
    properties = {name: draw(PARTS) for name in names}
    for name in names:
        wrap = draw(st.sampled_from(["plain", "null", "list"]))
        inner = properties[name]
        if wrap == "null":
            properties[name] = {"anyOf": [inner, {"type": "null"}]}
        elif wrap == "list":
            properties[name] = listed(inner, maxItems=2)
    return obj(draw(st.lists(st.sampled_from(names), unique=True)), **properties)


@pytest.mark.parametrize("tokenizer", [TOKENIZER, FALLBACK], ids=["byte level", "byte fallback"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(schema=composed(), room=st.sampled_from([0, 1, 5, 40]), seed=st.integers(0, 99))
def test_whatever_is_allowed_is_valid_within_whatever_tokens_are_enough(
    tokenizer: Any, schema: Schema, room: int, seed: int
) -> None:
    compiler = GrammarCompiler(tokenizer, len(tokenizer))
    stop, rule = tokenizer.eos_token_id, "start: " + json_rule(schema)
    try:
        grammar = compiler.compile(rule, 1, frozenset({stop}))
    except ContextLengthError as error:
        (enough,) = re.findall(r"to (\d+) or more", str(error))
        grammar = compiler.compile(rule, int(enough) + room, frozenset({stop}))
    ids: list[int] = []
    rng = random.Random(seed)
    while True:
        mask = grammar.allowed()
        token = rng.choice(mask.nonzero()[:, 0].tolist())
        token = stop if mask[stop] and rng.random() < 0.3 else token
        if token == stop:
            break
        if grammar.accept(token):
            ids.append(token)
    answer = json.loads(spelled(tokenizer, ids))
    jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(answer)


def fewest(schema: Schema) -> int:
    """The fewest tokens with which an answer is tried."""

    def is_enough(limit: int) -> bool:
        try:
            grammar_of("start: " + json_rule(schema), limit)
        except ContextLengthError:
            return False
        return True

    return bisect.bisect_left(range(640), True, key=is_enough)


@pytest.mark.parametrize(
    ("name", "shortest"),
    [
        ("all optional", {}),
        ("nested optional", {"a": {}, "d": {"e": True}}),
        ("array", {"a": []}),
        ("min items", {"a": ["", ""]}),
        ("multiple of", {"a": 0}),
        ("email", {"a": "a@b"}),
        ("date", {"a": "2000-01-01"}),
        ("percent", {"a": "0%"}),
        ("full name", {"a": "Aa Aa"}),
        ("key and value", {"a": "a: a"}),
        ("address", {"a": "a@a.aa"}),
        ("file name", {"a": "a.py"}),
        ("two words", {"a": "a a"}),
        ("amount", {"a": "0 EUR"}),
        ("version", {"a": "0.0.0"}),
        ("digest", {"a": "0" * 64}),
        ("pattern of a length", {"a": "a: " + "a" * 17}),
        ("different items", {"a": ["x"]}),
        ("dependent property", {}),
        ("tree", {"label": "", "children": []}),
        ("expression", {"value": 0}),
        ("told apart by a constant", {"kind": "leaf", "value": 0}),
        ("by turns", {"x": {"q": None}}),
        ("tagged union", {"a": {"kind": "square", "side": 0}}),
    ],
)
def test_as_few_tokens_are_enough_as_the_shortest_answer_has(name: str, shortest: Any) -> None:
    schema, needed = SCHEMAS[name], fewest(SCHEMAS[name])
    jsonschema.validate(shortest, schema)
    assert needed <= len(json.dumps(shortest))  # a token a character at worst
    for seed in range(3):
        answer = written(grammar_of("start: " + json_rule(schema), needed), seed, needed)
        jsonschema.validate(json.loads(answer), schema)


def test_a_refusal_names_what_takes_the_room_and_how_much_is_enough() -> None:
    with pytest.raises(ContextLengthError, match=r"\[a-f0-9\]\{64\}.* 64 characters") as caught:
        grammar_of("start: " + json_rule(PATTERNS["digest"]), limit=20)
    (enough,) = re.findall(r"max_tokens to (\d+) or more", str(caught.value))
    grammar_of("start: " + json_rule(PATTERNS["digest"]), limit=int(enough))


def test_an_optional_text_of_a_form_is_not_always_null() -> None:
    schema = PATTERNS["pattern or nothing"]
    found = [json.loads(written(grammar_of("start: " + json_rule(schema)), n)) for n in range(12)]
    assert {type(each["a"]) for each in found} == {str, type(None)}


@pytest.mark.parametrize("pattern", ['[^"]{3}', r"[^\\]{3}", "[^#-&!-]{3}", r"[^\]\\]{3}"])
@pytest.mark.parametrize("sign", ['"', "\\", "\n", "a"])
def test_what_a_class_leaves_out_is_not_let_through_escaped(pattern: str, sign: str) -> None:
    schema = {"type": "string", "pattern": f"^{pattern}$"}
    assert not takes(schema, 3 * sign) or re.search(schema["pattern"], 3 * sign)
    assert takes(schema, "aaa")


def test_a_class_that_would_let_any_escape_through_is_refused() -> None:
    schema = {"type": "string", "pattern": "^[\\x00-\\x1f!]*$"}
    with pytest.raises(SchemaError, match="all control characters, but not quote"):
        json_rule(schema)
    assert takes({**schema, "pattern": "^[\\x00-\\x7f]*$"}, '"\\')
    assert not takes({**schema, "pattern": "^[\\x01-\\x1f!]*$"}, '"\\')


OPEN: dict[str, Schema] = {
    "listed": {**obj([], ab=INTEGER), "additionalProperties": True},
    "listed, others of a type": {**obj([], ab=INTEGER), "additionalProperties": SHORT},
    "by a pattern": {"type": "object", "patternProperties": {r"^a\w$": INTEGER}},
}
RESPELLED = [r"\u0061b", r"a\u0062", r"\u0061\u0062"]


@pytest.mark.parametrize("schema", OPEN.values(), ids=OPEN)
@pytest.mark.parametrize("name", RESPELLED)
def test_a_name_spelled_by_escapes_does_not_pass_for_another_one(schema: Schema, name: str) -> None:
    for value, is_valid in (("1", True), ('"x"', False)):
        text = f'{{"{name}": {value}}}'
        assert (json.loads(text) == {"ab": 1}) is is_valid
        for ids in (TOKENIZER.encode(text, add_special_tokens=False), letters(text)):
            assert not accepts(grammar_of("start: " + json_rule(schema)), ids)
    assert takes(schema, {"ab": 1})
    assert takes(schema, {'\\u"/\t': "x"})


def letters(text: str) -> list[int]:
    return TOKENIZER.convert_tokens_to_ids(["Ġ" if each == " " else each for each in text])


def test_where_a_text_is_no_json_and_in_values_escapes_are_as_they_are() -> None:
    text = r'<{"\u0061\/": 1}>'
    for ids in (TOKENIZER.encode(text, add_special_tokens=False), letters(text)):
        grammar = COMPILER.compile('start: "<" /[^>]*/ ">"', LIMIT, frozenset({STOP}), (">",))
        assert accepts(grammar, ids)
    assert takes(SCHEMAS["string"], {"a": "\x01"})


def test_whoever_escapes_all_that_may_be_escaped_is_valid_all_the_same() -> None:
    schema = {"type": "object", "patternProperties": {r"\w": INTEGER}}
    liked = letters('\\u006"')
    for seed in range(20):
        grammar, rng, ids = grammar_of("start: " + json_rule(schema)), random.Random(seed), []
        while not grammar.allowed()[STOP] or rng.random() < 0.7:
            allowed = grammar.allowed().nonzero()[:, 0].tolist()
            token = rng.choice([each for each in allowed if each in liked] or allowed)
            if token == STOP:
                break
            if grammar.accept(token):
                ids.append(token)
        jsonschema.validate(json.loads(str(TOKENIZER.decode(ids))), schema)


def test_items_that_differ_may_come_in_any_order() -> None:
    for items in (["x", "z"], ["z", "x"], ["z", "y", "x"]):
        assert takes(REWRITTEN["different items"], {"a": items})
    assert not takes(REWRITTEN["different items"], {"a": ["x", "x"]})


@pytest.mark.parametrize(
    ("branches", "value"),
    [
        ([obj(["a"], a=INTEGER, b=SHORT), obj(["b"], b=SHORT)], {"a": 1, "b": "x"}),
        ([{"required": ["a"]}, {"required": ["b"]}], {"a": 1, "b": "x"}),
    ],
)
def test_one_of_lets_nothing_through_that_two_branches_hold(
    branches: list[Schema], value: Any
) -> None:
    schema = {**obj([], a=INTEGER, b=SHORT), "oneOf": branches}
    assert not takes(schema, value)
    assert takes(schema, {"b": "x"})
    assert takes(schema, {"a": 1})


def test_what_depends_on_a_property_comes_with_it() -> None:
    schema = REWRITTEN["dependent property"]
    assert not takes(schema, {"a": 1})
    assert all(takes(schema, each) for each in ({}, {"b": 1}, {"a": 1, "b": 1}))


@pytest.mark.parametrize("name", ["string", "pattern", "any of objects", "tree", "invoice"])
def test_the_shortlist_gives_what_the_whole_mask_gives(name: str) -> None:
    plan, noise = Amulet().plan([Guidance()]), torch.Generator().manual_seed(0)
    requests = [
        Request(((1,), (1,)), plan, HOT, 640, frozenset({STOP}), constraint=grammar)
        for grammar in (grammar_of("start: " + json_rule(SCHEMAS[name]), 640) for _ in range(2))
    ]
    for _ in range(200):
        streams = torch.randn(2, PADDED, generator=noise).mul(4).log_softmax(-1)
        shortlist = streams[[stream for stream, _ in plan.reference]].topk(64).indices
        uniform = float(torch.rand((), generator=noise))
        quick, whole = (
            next_token(request, streams, found, (), uniform)
            for request, found in zip(requests, (shortlist, None), strict=True)
        )
        assert (quick.id, quick.logprob) == (whole.id, pytest.approx(whole.logprob, abs=1e-5))
        if quick.id == STOP:
            break
        assert len({grammar_in(request).accept(quick.id) for request in requests}) == 1


def test_a_tokenizer_without_a_decoder_is_spelled_as_it_splits() -> None:
    tokenizer = byte_level(decoder=None)
    compiler = GrammarCompiler(tokenizer, len(tokenizer))
    grammar = compiler.compile("start: " + json_rule(obj(a=INTEGER)), 20, frozenset({STOP}))
    for token in tokenizer.encode('{"a": 1}', add_special_tokens=False):
        assert grammar.allowed()[token]
        assert grammar.accept(token)
    assert grammar.allowed()[STOP]


def test_what_tells_branches_apart_is_not_left_out() -> None:
    schema = REWRITTEN["one of what may be told apart"]
    assert takes(schema, {"kind": "a", "x": 1})
    assert not takes(schema, {"x": 1})


def test_of_two_properties_that_must_not_come_together_either_may_come() -> None:
    schema = REWRITTEN["not both"]
    assert all(takes(schema, each) for each in ({}, {"a": 1}, {"b": 1}))
    assert not takes(schema, {"a": 1, "b": 1})


@pytest.mark.parametrize("length", [600, 2**70])
def test_a_length_beyond_all_tokens_is_refused_soon(length: int) -> None:
    with pytest.raises((ContextLengthError, SchemaError)):
        grammar_of("start: " + json_rule({"type": "string", "minLength": length}), 20)


def test_the_mask_covers_the_logits_and_never_the_padding() -> None:
    mask = grammar_of("start: " + json_rule(SCHEMAS["any object"])).allowed()
    assert mask.shape == (PADDED,)
    assert mask.dtype == torch.bool
    assert not mask[len(TOKENIZER) :].any()


def test_stop_tokens_are_allowed_exactly_where_the_answer_may_end() -> None:
    grammar = grammar_of('start: "ab" "c"?')
    seen = []
    for token in (TOKENIZER.convert_tokens_to_ids(letter) for letter in "abc"):
        seen.append(bool(grammar.allowed()[STOP]))
        grammar.accept(token)
    assert [*seen, bool(grammar.allowed()[STOP])] == [False, False, True, True]


def test_a_token_that_does_not_fit_is_refused_and_the_answer_goes_on_without_it() -> None:
    grammar = grammar_of('start: "a"')
    for letter, fits in (("b", False), ("a", True)):
        assert grammar.accept(TOKENIZER.convert_tokens_to_ids(letter)) is fits
    assert grammar.allowed().nonzero().flatten().tolist() == [STOP]


def test_objects_that_list_their_properties_have_no_others() -> None:
    for seed in range(5):
        answer = json.loads(written(grammar_of("start: " + json_rule(obj(a=INTEGER))), seed))
        assert answer.keys() == {"a"}


def test_properties_said_to_be_open_stay_open() -> None:
    answers = [
        json.loads(written(grammar_of("start: " + json_rule(SCHEMAS["open"])), seed))
        for seed in range(8)
    ]
    assert any(answer.keys() > {"a"} for answer in answers)


def test_control_tokens_in_a_text_are_written_as_tokens() -> None:
    (index,) = TOKENIZER.encode("<tool_call>", add_special_tokens=False)
    assert COMPILER.spell('<tool_call>{"') == f'<[{index}]> "{{\\""'
    assert COMPILER.spell("plain") == '"plain"'


def test_places_in_json_are_told_apart() -> None:
    place = JsonPosition()
    inside = [place := place.after(bytes([c])) for c in rb'{"a\"}": ["'] and place
    assert inside.in_string
    assert inside.depth == 2
    assert inside.after(b']"]').depth == 1
    assert not place.after(b'"}').in_string
    assert not JsonPosition().after(rb'{"a\"}"').in_string
