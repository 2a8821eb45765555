"""Patterns are held to what Python's, Rust's (and so pydantic's) and JavaScript's readers take."""

import json
import random
import re
import warnings
from contextlib import suppress
from typing import Annotated, Any

import llguidance.hf
import pytest
from llguidance import LLMatcher
from pydantic import Field, TypeAdapter, ValidationError

from langchain_amulet.chat_formats.calls import Parameter
from langchain_amulet.chat_formats.raw_texts import raw_text_rules
from langchain_amulet.errors import SchemaError
from langchain_amulet.grammar import json_rule
from langchain_amulet.grammar.pattern_dialects import (
    LONGEST,
    check_meaning,
    finds_by_all,
    finds_by_any,
    for_all,
    for_any,
)
from langchain_amulet.grammar.pattern_endings import endings
from langchain_amulet.grammar.pattern_faults import fault_of
from support.grammars import COMPILER, TOKENIZER

NAMED = "²½Ⅷ٣๐\u200c\u200d\u203f\u2028\u3000\ufeffⒶ漢😀\u0378\u088f\U0001e900"
"""Characters about which readers, or versions of Unicode, differ; and some that are just others."""

CHARACTERS = [
    *map(chr, range(0x21)),
    *'aZ09_-.[]^"\\/~\x7f\x80\x85\xa0ªµÀé\xd7',
    *NAMED,
    *map(chr, random.Random(0).sample(range(0x180, 0xD800), 60)),
]
CLASSES = [
    r"\w", r"\d", r"\s", r"\W", r"\D", r"\S", r"[^\w]", r"[^\d\s]", r"[^\W]", r"[^\W\d_]",
    r"[\w.-]", r"[\W_]", r"[^\S]", r"[\s\S]", r"[^[\]]", r"[[a]", r"[^a-c\W]", "[!-/:-@[-`{-~]",
    r"[\w-.]", r"[+-\d]", r"[\w\W]", r"[a-c-\s]", r"[\d-]", r"[\d-\s]", "[:a:]", ".", "[^.]",
]  # fmt: skip

JAVASCRIPT = {
    r"\w": "0-9A-Za-z_",
    r"\d": "0-9",
    r"\s": r"\t-\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff",
}
"""What JavaScript's standard has in its classes."""


TOKENS = llguidance.hf.from_tokenizer(TOKENIZER)


def matcher(schema: Any) -> LLMatcher:
    return LLMatcher(TOKENS, LLMatcher.grammar_from_lark("start: " + json_rule(schema)))


def text_of(pattern: str) -> dict[str, str]:
    return {"type": "string", "pattern": pattern}


def takes(start: LLMatcher, text: str) -> bool:
    """Whether an answer may be this text and nothing more."""
    ids, answer = TOKENIZER.encode(text, add_special_tokens=False), start.deep_copy()
    return (
        answer.validate_tokens(ids) == len(ids)
        and answer.consume_tokens(ids)
        and (answer.is_accepting())
    )


def in_python(pattern: str, text: str) -> bool | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of brackets within classes
        try:
            return bool(re.search(pattern, text))
        except re.error:
            return None


def in_rust(pattern: str, text: str) -> bool | None:
    try:
        TypeAdapter(Annotated[str, Field(pattern=pattern)]).validate_python(text)
    except ValidationError:
        return False
    except Exception as error:  # pydantic-core raises a class of its own
        assert "regex parse error" in str(error)
        return None
    return True


def told(pattern: str, text: str) -> tuple[bool, bool]:
    """Whether Python or Rust finds a pattern in a text, and whether both do, if they read it."""
    found = {in_python(pattern, text), in_rust(pattern, text)}
    return True in found, False not in found


# --- What all readers take ---


@pytest.mark.parametrize("written", CLASSES)
def test_of_a_class_only_that_is_let_through_which_every_reader_takes(written: str) -> None:
    pattern = f"^{written}$"
    start = matcher(text_of(pattern))
    let_through = [
        character
        for character in CHARACTERS
        for spelled in {json.dumps(character), json.dumps(character, ensure_ascii=False)}
        if takes(start, spelled)
    ]
    assert let_through
    assert all(told(pattern, character)[1] for character in let_through)


@pytest.mark.parametrize("written", CLASSES)
def test_so_it_is_where_texts_stand_as_they_are(written: str) -> None:
    parameter = Parameter("a", text_of(f"^{written}$"), is_required=True)
    rules = ["start: a", *raw_text_rules("a", parameter, "</a>", COMPILER)]
    start = LLMatcher(TOKENS, LLMatcher.grammar_from_lark("\n".join(rules)))
    taken = [character for character in CHARACTERS if takes(start, f"{character}</a>")]
    assert taken
    assert all(told(f"^{written}$", character)[1] for character in taken)


@pytest.mark.parametrize("text", ["a b", "Zoë?", "a-b", "9:5"])
def test_what_is_no_letter_anywhere_may_stand_between_letters(text: str) -> None:
    start = matcher(text_of(r"\w\W|ë\?"))
    assert takes(start, json.dumps(text, ensure_ascii=False))


@pytest.mark.parametrize("written", CLASSES)
def test_an_ending_is_found_for_what_is_written_for_a_class(written: str) -> None:
    assert any(told(f"^{written}$", each)[1] for each in endings(for_all(f"^{written}$")))


@pytest.mark.parametrize(
    "pattern", ["^[a-z]+$", r"a\\w", r"\[a\]", "[:a:]+", r"a&&b--~~", r"[\--\/]", "[.$]", r"\.\$"]
)
def test_a_pattern_without_such_classes_stays_as_it_is(pattern: str) -> None:
    assert for_all(pattern) == pattern


@pytest.mark.parametrize("written", CLASSES)
def test_what_any_reader_takes_is_told_from_what_all_take(written: str) -> None:
    pattern = f"^{written}$"
    by_all, by_any = finds_by_all(pattern), finds_by_any(pattern)
    for character in CHARACTERS:
        is_some, is_all = told(pattern, character)
        assert is_all or not by_all(character)
        assert by_any(character) or not is_some


@pytest.mark.parametrize("written", [r"[\s\S]", r"[\w\W]", r"[\D.\d]"])
def test_a_class_and_all_that_it_leaves_out_are_any_character(written: str) -> None:
    assert all(map(finds_by_all(f"^{written}$"), CHARACTERS))
    assert takes(matcher(text_of(f"^{written}$")), '"é"')
    assert not any(map(finds_by_any(f"^[^{written[1:]}$"), CHARACTERS))


@pytest.mark.parametrize("letter", JAVASCRIPT)
def test_javascripts_classes_count_as_its_standard_has_them(letter: str) -> None:
    for written, theirs in (
        (letter, f"[{JAVASCRIPT[letter]}]"),
        (letter.upper(), f"[^{JAVASCRIPT[letter]}]"),
        (f"[^{letter}]", f"[^{JAVASCRIPT[letter]}]"),
    ):
        by_all, by_any = finds_by_all(f"^{written}$"), finds_by_any(f"^{written}$")
        for character in CHARACTERS:
            is_one = bool(re.fullmatch(theirs, character))
            assert is_one or not by_all(character)
            assert by_any(character) or not is_one


@pytest.mark.parametrize("end", ["\n", "\r", "\u2028", "\u2029"])
def test_a_dot_is_no_end_of_a_line_that_some_reader_knows(end: str) -> None:
    assert not finds_by_all("^a.$")(f"a{end}")
    assert finds_by_any("^a.$")(f"a{end}") is (end != "\n")
    assert finds_by_all("(?s)^a.$")(f"a{end}")
    spelled = {json.dumps(f"a{end}"), json.dumps(f"a{end}", ensure_ascii=False)}
    assert not any(takes(matcher(text_of("^a.$")), each) for each in spelled)


def test_to_find_a_pattern_takes_no_longer_than_its_text_is() -> None:
    assert not finds_by_any("^(a+)+$")("a" * 10_000 + "!")


# --- What means two things ---


@pytest.mark.parametrize(
    ("pattern", "remedy"),
    [
        ("[[:alpha:]]+", r"\["),
        ("[a[b]c]", r"\["),
        ("^[[a-z]*[-]?[a-z]*]*$", r"\["),
        ("^[a-z&&[^b]]$", r"\&"),
        ("[a~~b]", r"\~"),
        ("[+--]", r"\-"),
        ("[--/]", r"\-"),
        (r"[\w--]", r"\-"),
        ("[]a]", r"\]"),
        ("^[^]a]$", r"\]"),
        (r"^\<a\>$", "<"),
    ],
)
def test_what_means_two_things_is_refused_with_what_to_write_instead(
    pattern: str, remedy: str
) -> None:
    named = {"type": "object", "patternProperties": {pattern: True}}
    for schema in (text_of(pattern), named, {**named, "additionalProperties": False}):
        with pytest.raises(SchemaError, match="means different things") as caught:
            json_rule(schema)
        assert json.dumps(pattern) in str(caught.value)
        assert f"{remedy} is a sign to all" in str(caught.value)


@pytest.mark.parametrize(
    "pattern", ["a++b", r"^\d*+$", "(ab)?+", r"[a-z]{2}+", r"\.{2,}+", ".{1,3}+"]
)
def test_a_repetition_that_gives_nothing_back_to_some_is_refused(pattern: str) -> None:
    with pytest.raises(SchemaError, match="means different things") as caught:
        json_rule(text_of(pattern))
    assert json.dumps(pattern) in str(caught.value)


@pytest.mark.parametrize("pattern", [r"a\++", r"[*+]+", r"\\+", r"\{2}+", "a+?b*?"])
def test_a_plus_that_is_a_sign_repeats_nothing(pattern: str) -> None:
    json_rule(text_of(pattern))


@pytest.mark.parametrize("pattern", ["[!@#$%^&*[]", r"[[a\]]", "[@[^_]+x", r"^[^[\]]+$"])
def test_a_bracket_is_a_sign_where_nobody_can_read_it_otherwise(pattern: str) -> None:
    assert in_rust(pattern, "") is None
    for text in ("[", "a]", "@x", "[]", "x"):
        assert finds_by_all(pattern)(text) is in_python(pattern, text)


@pytest.mark.filterwarnings("error")
def test_of_a_bracket_in_a_class_nobody_is_warned() -> None:
    json_rule({"oneOf": [{"enum": ["[", "[]"]}, text_of(r"^[^[\]]$")]})
    json_rule({"type": "object", "patternProperties": {r"^[[a]$": True}, "required": ["["]})
    json_rule({"type": "object", "propertyNames": {"pattern": "^[[a]$"}, "properties": {"[": True}})


# --- Names of properties, which choose what their values must be ---


NAMES = ["a", "é", "Ⅷ", "1", "٣", "-", "a\n", "a\u2028b", "a b", '"', "\\", "", "漢", "\x85"]


@pytest.mark.parametrize(
    "pattern", [r"^\w+$", r"^\d$", r"\W", "^.+$", r"^[^\W\d]+$", '^[^"]*$', r"\s"]
)
@pytest.mark.parametrize("others", [True, False, {"type": "integer", "maximum": 5}])
def test_the_value_of_a_name_is_what_each_reader_of_its_pattern_asks(
    pattern: str, others: Any
) -> None:
    schema = {
        "type": "object",
        "patternProperties": {pattern: {"type": "integer", "minimum": 3}},
        "additionalProperties": others,
    }
    start, taken = matcher(schema), 0
    for name in NAMES:
        by_some, by_all = told(pattern, name)
        for value in (1, 4, 7, "x"):
            if takes(start, json.dumps({name: value}, ensure_ascii=False)):
                taken += 1
                assert value in (4, 7) or not by_some
                assert by_all or others is True or (others and value in (1, 4))
    assert taken


@pytest.mark.parametrize("others", [True, False, {"type": "integer"}])
def test_a_listed_name_is_also_what_any_reader_of_a_pattern_asks(others: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"é": {"minimum": 3}, "-": {"minimum": 3}},
        "patternProperties": {r"^\w$": {"type": "integer"}},
        "additionalProperties": others,
    }
    start = matcher(schema)
    assert takes(start, '{"é": 4}')
    assert takes(start, '{"-": "x"}')
    assert not any(takes(start, each) for each in ('{"é": 2}', '{"é": "x"}', '{"-": 2}'))


def test_a_required_name_is_also_what_any_reader_of_a_pattern_asks() -> None:
    schema = {
        "type": "object",
        "properties": {"a": True},
        "required": ["é"],
        "patternProperties": {r"^\w$": {"type": "integer"}},
        "additionalProperties": {"maximum": 5},
    }
    start = matcher(schema)
    assert takes(start, '{"é": 4}')
    assert not any(takes(start, each) for each in ('{"é": 7}', '{"é": "x"}', "{}"))


def test_a_name_that_python_finds_before_an_end_of_a_line_is_one() -> None:
    start = matcher({"type": "object", "patternProperties": {"^a$": {"type": "integer"}}})
    assert takes(start, '{"a\\n": 1}')
    assert not takes(start, '{"a\\n": "x"}')
    assert takes(start, '{"a\\n\\n": "x"}')


def test_of_two_patterns_that_are_the_same_to_all_both_hold() -> None:
    named = {r"^\d$": {"type": "integer"}, "^[0-9]$": {"maximum": 5}}
    schema = {"type": "object", "patternProperties": named, "additionalProperties": False}
    start = matcher(schema)
    assert takes(start, '{"1": 4}')
    assert not any(takes(start, each) for each in ('{"1": 7}', '{"1": "x"}'))


def test_a_branch_is_apart_only_from_what_no_reader_of_its_pattern_takes() -> None:
    json_rule({"oneOf": [{"enum": ["-"]}, text_of(r"^\w$")]})
    with pytest.raises(SchemaError, match="branches 0 and 1 may both hold"):
        json_rule({"oneOf": [{"enum": ["é", "-"]}, {**text_of(r"^\w$"), "minLength": 1}]})


@pytest.mark.parametrize("part", ["[", r"\[", r"\\[", "[a[]", "[^\\", "(?a", "(?s", "{1,", r"[\d"])
def test_patterns_are_read_in_time_that_grows_with_their_length(part: str) -> None:
    """Nothing else is done meanwhile: what took the square of it stopped all of a process."""
    pattern = part * (LONGEST // len(part))
    assert for_all(pattern) or for_any(pattern)
    assert fault_of(f"{pattern}(?=a)")
    with suppress(SchemaError):
        check_meaning(pattern, "It")
    flags = pattern[:3] + "s" * (LONGEST - 3)
    assert for_all(flags) and fault_of(flags)


def test_a_pattern_that_is_far_too_long_is_refused_unread() -> None:
    with pytest.raises(SchemaError, match="It has 3000000 characters, and patterns may have 20000"):
        check_meaning(r"\w[" * 1_000_000, "It")


def test_an_escaped_bracket_begins_no_class() -> None:
    assert "a look ahead" in fault_of(r"\[(?=a)")
    assert fault_of("[(?=a)") == "isn't a regular expression: mend it"
