"""What goes to a server that steers and what comes back; the server itself is vllm_plugin's."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_amulet.engine import Finish, Pause, Request, Token
from langchain_amulet.engine.remote.answer_wire import TokenFailure, failed_rows, rows_of, token_of
from langchain_amulet.engine.remote.http import Address
from langchain_amulet.engine.remote.request_wire import digest, read, write
from langchain_amulet.engine.remote.sse import Answer
from langchain_amulet.errors import (
    ConfigurationError,
    ContextLengthError,
    GenerationError,
    RequestError,
    ServerError,
)
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Contrast, Mask, Plan, Plausibility, Solver, Stream, TopK, TopP

PLAN = Plan(
    streams=(Stream((0, 1)), Stream((0,)), Stream()),
    anchor=0,
    contrasts=(Contrast(1.5, 0, 1), Contrast(-0.25, 1, 2)),
    reference=((0, 0.75), (1, 0.25)),
    mask=Plausibility(0.1),
    kl_cap=0.5,
)
REQUEST = Request(
    prompts=((5, 6, 7), (6, 7), (7,)),
    plan=PLAN,
    sampling=SamplingParams(temperature=0.5, top_p=0.9, seed=3, top_logprobs=2),
    max_tokens=3,
    stop_ids=frozenset({2, 4}),
    pauses=(Pause(frozenset({8, 9}), closing=10, from_start=True),),
)

logprobs = st.floats(-80.0, 0.0)
tokens = st.builds(
    Token,
    id=st.integers(0, 50),
    logprob=logprobs,
    top_logprobs=st.lists(st.tuples(st.integers(51, 99), logprobs), max_size=3).map(tuple),
    kl=st.floats(0.0, 1e6),
    agreement=st.none() | st.floats(-1.0, 1.0),
)


def said_of(token: Token, streams: int) -> tuple[list[int], list[float], dict[int, float]]:
    """What a server's rows say of a token, after vLLM's greedy choice in each."""
    rows = rows_of(token, streams)
    ids = [max(row, key=row.__getitem__) for row in rows]
    return ids, [row[best] for row, best in zip(rows, ids, strict=True)], rows[0]


def event(ids: list[int], values: list[float], first: dict[int, float]) -> list[dict]:
    """The same as vLLM's chunks, one for each row."""
    tops = [first, *[{}] * (len(ids) - 1)]
    return [
        {
            "choices": [
                {
                    "index": row,
                    "token_ids": [ids[row]],
                    "logprobs": {
                        "token_logprobs": [values[row]],
                        "top_logprobs": [{f"token_id:{k}": v for k, v in tops[row].items()}],
                    },
                }
            ]
        }
        for row in range(len(ids))
    ]


@pytest.mark.parametrize("mask", [None, Plausibility(0.1), TopK(3), TopP(0.9)], ids=str)
def test_a_request_is_read_as_it_was_written(mask: Mask | None) -> None:
    asked = replace(REQUEST, plan=replace(PLAN, mask=mask))
    spec = read(write(asked))
    assert spec.request(asked.prompts, None) == asked
    assert spec.digests == tuple(map(digest, REQUEST.prompts))


def test_each_group_has_a_name_and_a_seed_of_its_own() -> None:
    asked = replace(REQUEST, sampling=SamplingParams())
    one, other = read(write(asked)), read(write(asked))
    assert one.group != other.group
    assert one.sampling.seed is not None
    assert one.sampling.seed != other.sampling.seed


def test_a_text_holds_no_token_of_the_prompts() -> None:
    longer = replace(REQUEST, prompts=((123456789,) * 9, (6, 7), (7,)))
    assert "123456789" not in write(longer)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"plan": replace(PLAN, contrasts=(), solver=Solver(2))}, "a solver's utility"),
        ({"trace": True}, "a trace"),
        ({"constraint": object()}, "a grammar"),
        ({"guard": object()}, "a guard of one's own"),
        ({"plan": replace(PLAN, streams=(*PLAN.streams[:2], Stream((), "other")))}, "a second"),
    ],
    ids=["solver", "trace", "grammar", "guard", "second model"],
)
def test_what_can_t_run_elsewhere_is_refused_by_name(change, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        write(replace(REQUEST, **change))


def broken() -> list[object]:
    data = json.loads(write(REQUEST))
    without = [{k: v for k, v in data.items() if k != name} for name in data]
    wrong = [{**data, "anchor": 9}, {**data, "mask": {"kind": "Own"}}, {**data, "prompts": []}]
    return [None, 5, "", "[]", "null", *map(json.dumps, [*without, *wrong])]


def test_a_text_that_nobody_wrote_is_refused() -> None:
    for text in broken():
        with pytest.raises(RequestError, match="use the same release at both ends"):
            read(text)


@given(tokens, st.integers(1, 4))
def test_a_token_is_read_from_the_rows_as_it_was(token: Token, streams: int) -> None:
    found = token_of(*said_of(token, streams))
    assert found.id == token.id
    assert found.logprob == pytest.approx(token.logprob, abs=1e-9)
    assert found.kl == (token.kl if streams > 1 else 0.0)
    assert found.agreement == (token.agreement if streams > 2 else None)
    assert dict(token.top_logprobs).items() <= dict(found.top_logprobs).items()


@given(tokens, st.integers(1, 4), st.sampled_from(TokenFailure))
def test_a_failure_is_never_read_as_a_token(token: Token, streams: int, failure) -> None:
    ids, values, first = said_of(token, streams)
    failed = failed_rows(failure, token.id, streams)
    with pytest.raises(GenerationError, match="steered or not given"):
        token_of(ids, [row[token.id] for row in failed], {})
    if streams > 1:  # rows that lost step say it one after the other
        with pytest.raises(GenerationError, match="steered or not given"):
            token_of(ids, [values[0], -float(failure), *values[2:]], first)


@pytest.mark.parametrize("value", [-0.3, -25.0, 0.0, 9.25, -math.inf])
def test_what_vllm_says_of_tokens_that_it_chose_itself_is_no_token(value: float) -> None:
    with pytest.raises(GenerationError, match="steered or not given"):
        token_of([5, 5], [value, value], {})


def test_an_answer_s_tokens_come_once_all_rows_have_them() -> None:
    answer = Answer(REQUEST)
    first, second = Token(5, -0.5, ((5, -0.5), (6, -1.0)), kl=0.25, agreement=0.5), Token(2, -1.0)
    *early, last = event(*said_of(first, 3))
    assert [found for part in early for found in answer.feed(part)] == []
    (found,) = answer.feed(last)
    assert (found.id, found.kl, found.agreement) == (5, 0.25, 0.5)
    ended = [each for part in event(*said_of(second, 3)) for each in answer.feed(part)]
    assert [type(each) for each in ended] == [Finish]
    assert (ended[0].reason, ended[0].token.id) == ("stop", 2)


def test_why_a_server_ends_an_answer_decides_the_error() -> None:
    for reason, error in [
        ("amulet refused: too many; shorten the conversation", ContextLengthError),
        ("amulet refused: too many slots", RequestError),
        ("amulet gave up: a prompt is missing", ServerError),
    ]:
        said = {"choices": [{"index": 0, "token_ids": [0], "stop_reason": reason}]}
        with pytest.raises(error) as raised:
            list(Answer(REQUEST).feed(said))
        assert type(raised.value) is error
        assert not str(raised.value).startswith("amulet")


def test_an_address_may_leave_out_v1_and_nothing_else() -> None:
    for given_url in ("http://host:8000", "http://host:8000/", "http://host:8000/v1/"):
        assert Address(given_url).base_url == "http://host:8000/v1"
    for wrong in ("host:8000", "ftp://host", "http://", ""):
        with pytest.raises(ConfigurationError, match="a server's address"):
            Address(wrong)
