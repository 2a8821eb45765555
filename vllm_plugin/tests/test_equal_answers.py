"""A vLLM server gives the tokens of our own engine, under every stress that could part streams."""

import threading
import time
from pathlib import Path
from tempfile import gettempdir

import httpx
import pytest

from langchain_amulet.engine import Engine, Finish, Pause, Request, Token
from langchain_amulet.engine.remote import RemoteEngine
from langchain_amulet.engine.remote.completion import completion
from langchain_amulet.sampling import SamplingParams
from support.stream_groups import AMULET, PLANS, mixed, request
from support.vllm_servers import TOKENIZER, Servers, remote_engine

STRESSES = {
    "few slots": ["--max-num-seqs", "5"],
    "small token budget": ["--max-num-batched-tokens", "130", "--max-num-seqs", "64"],
    # Room for six rows at their longest, or for twelve as they begin: vLLM's own scheduler would
    # take those in, and later take memory back from some of them.
    "little memory": [
        "--max-model-len", "256", "--block-size", "32", "--num-gpu-blocks-override", "13"
    ],
    "nothing done ahead": ["--no-enable-prefix-caching", "--no-async-scheduling"],
}  # fmt: skip
"""Settings under which streams lose step without the group scheduler. By each of these limits only
some of the requests fit at a time; where nothing else is said, prefixes are cached."""


def ids(engine: Engine | RemoteEngine, requests: list[Request]) -> list[list[int]]:
    """The tokens of several requests that decode together."""
    streams = [engine.submit(each) for each in requests]
    return [[token.id for token in stream] for stream in streams]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_token_is_known_as_well_as_one_of_our_own_engine(local, remote, plan) -> None:
    asked = request(plan, sampling=SamplingParams(temperature=0.8, seed=3, top_logprobs=4))
    ours, theirs = [[*engine.submit(asked)] for engine in (local, remote)]
    assert [token.id for token in theirs] == [token.id for token in ours]
    for own, other in zip(ours, theirs, strict=True):
        assert other.logprob == pytest.approx(own.logprob, abs=1e-3)
        assert other.kl == pytest.approx(own.kl, abs=1e-3)
        assert other.agreement == pytest.approx(own.agreement, abs=1e-2)
        known = {token: value for token, value in own.top_logprobs if value > -9000}
        assert dict(other.top_logprobs) == pytest.approx(known, abs=1e-3)


def test_settings_of_sampling_and_pauses_mean_the_same(local, remote) -> None:
    opening, *_ = [token.id for token in local.submit(request(number=4))]
    asked = [
        request(sampling=SamplingParams(temperature=1.2, top_k=5, seed=1)),
        request(sampling=SamplingParams(temperature=1.0, top_p=0.8, min_p=0.05, seed=2)),
        request(sampling=SamplingParams(repetition_penalty=1.3, presence_penalty=0.4, seed=3)),
        request(number=4, pauses=(Pause(frozenset({opening}), closing=99),)),
        request(number=5, pauses=(Pause(from_start=True),)),
    ]
    assert ids(remote, asked) == ids(local, asked)


def test_an_answer_ends_at_its_stop_token_which_is_told_and_not_given(local, remote) -> None:
    first = [token.id for token in local.submit(request(max_tokens=12))]
    asked = request(max_tokens=12, stop_ids=frozenset({first[5]}))
    ours, theirs = local.submit(asked), remote.submit(asked)
    assert (
        [token.id for token in theirs]
        == [token.id for token in ours]
        == first[: first.index(first[5])]
    )
    assert theirs.finish_reason == "stop"
    assert theirs.stop_token.id == ours.stop_token.id == first[5]


def test_24_at_once_have_the_answers_that_they_have_alone(local, remote) -> None:
    asked = mixed(24)
    assert ids(remote, asked) == ids(local, asked)


@pytest.mark.parametrize("stress", STRESSES)
def test_streams_keep_in_step_with(local, servers: Servers, stress: str) -> None:
    engine, asked = remote_engine(servers.url(STRESSES[stress])), mixed(12, max_tokens=24)
    assert ids(engine, asked) == ids(local, asked)
    assert ids(engine, asked) == ids(local, asked)  # now with what the first ones left in caches
    engine.close()


def test_a_third_of_the_clients_hanging_up_costs_the_others_nothing(local, remote) -> None:
    asked = mixed(24, max_tokens=24)
    streams = [remote.submit(each) for each in asked]
    kept = {}

    def read(number: int) -> None:
        if number % 3:
            kept[number] = [token.id for token in streams[number]]
        else:
            next(streams[number])
            streams[number].close()

    readers = [threading.Thread(target=read, args=[number]) for number in range(24)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(timeout=120)
    expected = ids(local, asked)
    assert kept == {number: expected[number] for number in range(24) if number % 3}
    # What was left holds no slots: as many again are answered.
    assert ids(remote, asked[:8]) == expected[:8]
    assert remote.stats().cancelled == 8


def test_a_prompt_that_comes_late_is_waited_for(local, url: str) -> None:
    asked = request(AMULET, number=9)
    parts = [_only(asked, stream) for stream in (0, 1)]
    answers: dict[int, httpx.Response] = {}

    def send(number: int) -> None:
        answers[number] = httpx.post(f"{url}/completions", json=parts[number], timeout=60)

    first = threading.Thread(target=send, args=[0])
    first.start()
    time.sleep(1.0)
    send(1)
    first.join(timeout=60)
    expected = [token.id for token in local.submit(asked)]
    assert [answers[k].json()["choices"][0]["token_ids"] for k in (0, 1)] == [expected, expected]


def test_a_prompt_without_the_others_gets_an_error_and_no_token(url: str) -> None:
    body = _only(request(AMULET, number=10), 0)
    answer = httpx.post(f"{url}/completions", json=body, timeout=60).json()["choices"][0]
    assert answer["finish_reason"] == "abort"
    assert "All prompts of an answer must come together" in answer["stop_reason"]
    assert answer["logprobs"]["token_logprobs"][0] < 0


def _only(asked: Request, stream: int) -> dict[str, object]:
    """What vLLM is asked of one stream, the group's name being the same for each."""
    if asked not in _BODIES:
        _BODIES[asked] = completion("pocket", asked, TOKENIZER)
    body = _BODIES[asked]
    return {**body, "prompt": [body["prompt"][stream]], "stream": False}


_BODIES: dict[Request, dict] = {}


def test_all_that_a_server_opens_lies_in_its_own_folder(servers: Servers) -> None:
    server = servers.server([])
    family = [server.program, *server.program.children(recursive=True)]
    connections = [each for one in family for each in one.net_connections("unix") if each.laddr]
    paths = {Path(each.laddr) for each in connections if each.laddr.startswith("/")}
    assert server.folder in {path.parent for path in paths}
    assert not {path for path in paths if path.parent == Path(gettempdir())}


def test_what_ends_an_answer_is_an_event_of_its_own(remote) -> None:
    stream = remote.submit(request(max_tokens=2))
    assert all(isinstance(token, Token) for token in stream)
    assert stream.finish_reason == "length"
    assert isinstance(stream._ended, Finish)
