"""A body of the size that the server takes costs it no more than moments, whatever it holds."""

import pytest
from pydantic import ValidationError

from amulet_server.protocol.chat_request import MOST_METADATA, ChatRequest
from amulet_server.protocol.errors import LONGEST_PLACE, invalid
from amulet_server.routes.preferences import ForgetRequest, PreferenceChange
from amulet_server.transport.requests import holds_more
from langchain_amulet.preferences.preference import MOST_PREFERENCES

MANY = 5_000
UNKNOWN = {f"x{number}": 1 for number in range(MANY)}
TOOL = {"type": "function", "function": {"name": "f"}}
CALL = {"model": "pocket", "messages": [{"role": "user", "content": "a"}]}


@pytest.mark.parametrize("each", ["a", {"text": "a"}])
def test_a_list_of_preferences_is_refused_at_its_bound_and_not_read_to_its_end(each):
    at_most = [each] * MOST_PREFERENCES
    assert ChatRequest(**CALL, preference=at_most).preference is not None
    assert PreferenceChange(preference=at_most).preference is not None
    for make in (
        lambda many: ChatRequest(**CALL, preference=many),
        lambda many: PreferenceChange(preference=many),
    ):
        with pytest.raises(ValidationError, match="at most 1000"):
            make([each] * 1_000_000)


def test_a_name_as_long_as_a_request_is_told_in_part_and_compared_to_none():
    name = "preferenc" + "e" * 3_000_000
    complaints = [{"type": "extra_forbidden", "loc": ("body", name), "input": 1}]
    told = invalid(complaints, {name: 1}, lambda place: {"preference"})
    assert len(told.detail.message) < 2 * LONGEST_PLACE
    assert told.detail.param is not None
    assert len(told.detail.param) <= LONGEST_PLACE + 3


def test_of_many_complaints_one_is_told():
    body = {f"a{number}": 1 for number in range(100_000)}
    complaints = [{"type": "extra_forbidden", "loc": ("body", name), "input": 1} for name in body]
    assert invalid(complaints, body, lambda place: {"model"}).detail.param == "a0"


@pytest.mark.parametrize("wish", ["a" * 3_000_000, "a," * 1_500_000])
def test_a_wish_that_is_far_too_long_is_refused_before_names_are_looked_for(wish):
    for given in (
        {"preference": wish},
        {"preference": [wish]},
        {"preference": {"text": wish}},
        {"metadata": {"preference": wish}},
    ):
        with pytest.raises(ValidationError, match="at most 20000 characters"):
            ChatRequest(**CALL, **given)
    with pytest.raises(ValidationError, match="at most 20000 characters"):
        PreferenceChange(preference=[{"text": wish}])
    with pytest.raises(ValidationError, match="at most 20000 characters"):
        ForgetRequest(text=wish)


@pytest.mark.parametrize(
    "given",
    [
        UNKNOWN,
        {"messages": [{"role": "user", "content": "a", **UNKNOWN}]},
        {"messages": [{"role": "user", "content": "a", "x": 1}] * MANY},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}] * MANY}]},
        {"messages": [{"role": "assistant", "content": [{"type": "image"}] * MANY}]},
        {"messages": [{"role": "assistant", "tool_calls": [{}] * MANY}]},
        {"messages": [{"role": "nobody"}] * MANY},
        {"messages": [{}] * MANY},
        {"messages": [1] * MANY},
        {"tools": [{**TOOL, **UNKNOWN}]},
        {"tools": [{}] * MANY},
        {"tool_choice": {"type": "function", **UNKNOWN}},
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{}] * MANY},
            }
        },
        {"response_format": {"type": "text", **UNKNOWN}},
        {"stream_options": UNKNOWN},
        {"stop": [1] * MANY},
        {"logit_bias": dict.fromkeys(UNKNOWN, "a")},
        {"metadata": UNKNOWN},
        {"metadata": dict.fromkeys(UNKNOWN, "a")},
        {"modalities": ["audio"] * MANY},
        {"preference": {"text": "a", **UNKNOWN}},
        {"preference": [{}] * MANY},
    ],
    ids=str,
)
def test_of_thousands_of_faults_a_few_are_looked_at(given):
    with pytest.raises(ValidationError) as caught:
        ChatRequest.model_validate({**CALL, **given})
    assert caught.value.error_count() <= MOST_METADATA + 2
    complaints = [{**each, "loc": ("body", *each["loc"])} for each in caught.value.errors()]
    told = invalid(complaints, {**CALL, **given}, lambda place: ())
    assert told.detail.param is not None
    assert told.detail.param.startswith(next(iter(given)))


def test_a_list_that_is_too_long_is_told_so_where_a_text_may_stand_too():
    given = {**CALL, "preference": ["a"] * (MOST_PREFERENCES + 1)}
    with pytest.raises(ValidationError) as caught:
        ChatRequest.model_validate(given)
    complaints = [{**each, "loc": ("body", *each["loc"])} for each in caught.value.errors()]
    told = invalid(complaints, given, lambda place: ())
    assert told.detail.message == "Invalid value for 'preference': it must be at most 1000 long."


@pytest.mark.parametrize("at", [1024, 2000])
def test_the_values_of_a_body_are_counted_however_they_nest(at):
    body = {"a": [[1] * 500, {"b": {f"k{number}": [] for number in range(520)}}]}
    assert _count(body) == 1024
    assert holds_more(body, at - 1) is (at == 1024)
    assert not holds_more(body, at)
    assert not holds_more("a text", 0)


def _count(value):
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return len(held) + sum(map(_count, held))
