"""A body of the size that the server takes costs it no more than moments, whatever it holds."""

import pytest
from pydantic import ValidationError

from amulet_server.protocol.chat_request import ChatRequest
from amulet_server.protocol.errors import LONGEST_PLACE, invalid
from amulet_server.routes.preferences import ForgetRequest, PreferenceChange
from langchain_amulet.preferences.preference import MOST_PREFERENCES

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
