"""What can't be steered is refused, with figures, a name or a reason, and is never decoded."""

import json
import re
import shutil
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from transformers import AutoTokenizer

from langchain_amulet import ChatAmulet
from langchain_amulet.engine import LoadOptions
from langchain_amulet.engine.loading.hub import POCKET_FOLDER
from langchain_amulet.engine.remote import RemoteEngine, load_vllm
from langchain_amulet.engine.remote.completion import completion
from langchain_amulet.engine.remote.request_wire import fingerprint, write
from langchain_amulet.errors import (
    ConfigurationError,
    ContextLengthError,
    DeadlineError,
    EngineClosedError,
    RequestError,
    ServerError,
)
from langchain_amulet.methods import Iterated
from langchain_amulet.steering import amulet_utility
from support.stream_groups import NESTED, WEIGHTED, request
from support.vllm_servers import TOKENIZER, Servers, remote_engine

LONG = {"lark": "x" * 100_001, "ends": [], "turn": None}


def asked_of(**changes: object) -> str:
    """What a request's rows are told of it, changed."""
    return json.dumps(json.loads(write(request(), TOKENIZER)) | changes)


def test_a_group_that_can_never_fit_is_told_so_with_figures(servers: Servers) -> None:
    small = ["--max-num-batched-tokens", "130", "--max-num-seqs", "3", "--max-model-len", "256"]
    engine = remote_engine(servers.url(small))
    for asked, said in [
        (request(WEIGHTED, length=10), "4 are more than max_num_seqs, 3"),
        (request(NESTED, length=60), "60 + 63 + 66 is 189 tokens, more than"),
    ]:
        with pytest.raises(RequestError, match=re.escape(said)):
            list(engine.submit(asked))
    with pytest.raises(ContextLengthError, match="context of 256"):
        engine.submit(request(max_tokens=250))
    assert len(list(engine.submit(request()))) == 16  # nobody waits behind what was refused
    engine.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temperature": 1.0}, "temperature must be"),
        ({"max_tokens": 3}, "max_tokens must be"),
        ({"stop": ["."]}, "stop must be"),
        ({"presence_penalty": 0.5}, "presence_penalty must be"),
        ({"ignore_eos": False}, "ignore_eos must be"),
        ({"logprobs": None}, "logprobs must be a number"),
        ({"vllm_xargs": {"amulet": '{"wire":99}'}}, "version 3 of its wire"),
        ({"vllm_xargs": {"amulet": ["wire", "2"]}}, "version 3 of its wire"),
        ({"vllm_xargs": {"amulet": asked_of(guard={})}}, "version 3 of its wire"),
        ({"vllm_xargs": {"amulet": asked_of(colour="red")}}, "version 3 of its wire"),
        ({"vllm_xargs": {"amulet": asked_of(grammar=LONG)}}, "characters, but this one has 100001"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_would_part_rows_is_refused_before_it_is_queued(url: str, change, said: str) -> None:
    body = {**completion("pocket", request(), TOKENIZER), "stream": False, **change}
    answer = httpx.post(f"{url}/completions", json=body, timeout=60)
    assert answer.status_code == 400
    assert said in answer.text


def test_a_prompt_that_was_not_named_is_refused(url: str) -> None:
    body = {**completion("pocket", request(), TOKENIZER), "stream": False}
    body["prompt"][1] = [9, 9, 9]
    answer = httpx.post(f"{url}/completions", json=body, timeout=60).json()
    assert {each["finish_reason"] for each in answer["choices"]} == {"abort"}
    assert any("has the prompts that were named" in c["stop_reason"] for c in answer["choices"])


def test_requests_that_ask_for_no_steering_are_vllms_own(url: str) -> None:
    body = {"model": "pocket", "prompt": [[9, 10, 11]], "max_tokens": 3, "temperature": 0}
    answer = httpx.post(f"{url}/completions", json=body, timeout=60).json()
    assert answer["usage"]["completion_tokens"] >= 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"trace": True}, "a trace"),
        ({"method": "beam_search"}, "search by beams"),
        ({"method": Iterated(utility=amulet_utility)}, "a solver's utility"),
        ({"method": "guided_reranking"}, "method 'guided_reranking' ranks answers by"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_needs_this_process_is_refused_by_name(url: str, asked, said: str) -> None:
    with (
        ChatAmulet(model="pocket", backend="vllm", base_url=url, max_tokens=64) as llm,
        pytest.raises(RequestError, match=said),
    ):
        llm.invoke("Hello!", preference="Be brief.", **asked)


def test_answers_are_scored_in_this_process_alone(url: str) -> None:
    with (
        ChatAmulet(model="pocket", backend="vllm", base_url=url) as llm,
        pytest.raises(RequestError, match="score answers"),
    ):
        llm.score("Hello!", "Hi.", preference="Be brief.")


class Unsteered(BaseHTTPRequestHandler):
    """A server of completions that passes over what it doesn't know, as vLLM without us does."""

    def do_GET(self) -> None:
        self._say({"data": [{"id": "pocket", "max_model_len": 512}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say({"choices": []})

    def log_message(self, *args: object) -> None:
        pass

    def _say(self, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_server_that_does_not_steer_is_refused_when_the_model_is_loaded() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Unsteered) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        with pytest.raises(ConfigurationError, match="must steer, but the one at"):
            load_vllm(str(POCKET_FOLDER), LoadOptions(backend="vllm", base_url=url))
        server.shutdown()
    with pytest.raises(ServerError, match="must answer"):
        load_vllm(str(POCKET_FOLDER), LoadOptions(backend="vllm", base_url=url))


def with_other_tokens(folder: Path) -> Path:
    """The bundled model, two of whose tokens have each other's ids."""
    shutil.copytree(POCKET_FOLDER, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    path = folder / "tokenizer.json"
    said = json.loads(path.read_text("utf-8"))
    ids = said["model"]["vocab"]
    first, second = [token for token in ids if token.isalpha()][-2:]
    ids[first], ids[second] = ids[second], ids[first]
    path.write_text(json.dumps(said), "utf-8")
    return folder


def test_a_model_of_other_tokens_than_the_server_s_is_refused_when_it_is_loaded(
    url: str, tmp_path: Path
) -> None:
    folder = with_other_tokens(tmp_path / "other")
    other = fingerprint(AutoTokenizer.from_pretrained(folder).get_vocab())
    with pytest.raises(ConfigurationError, match="the model that is served") as raised:
        load_vllm(str(folder), LoadOptions(backend="vllm", base_url=url))
    for named in (repr(str(folder)), other, repr(str(POCKET_FOLDER)), TOKENIZER):
        assert named in str(raised.value)


def test_a_request_of_other_tokens_is_refused_by_a_server_that_came_later(url: str) -> None:
    loaded = load_vllm(str(POCKET_FOLDER), LoadOptions(backend="vllm", base_url=url))
    engine = RemoteEngine(replace(loaded, fingerprint="5 tokens (0)"))
    with pytest.raises(RequestError, match=r"of its own tokenizer.* these are of one with 5 tok"):
        list(engine.submit(request()))
    engine.close()


def test_an_address_must_be_one() -> None:
    with pytest.raises(ConfigurationError, match="must be a server's address"):
        ChatAmulet(model="pocket", backend="vllm", base_url="localhost").load()


def test_a_timeout_and_a_close_end_what_is_under_way(url: str) -> None:
    engine = remote_engine(url)
    with pytest.raises(DeadlineError, match="within its timeout"):
        list(engine.submit(request(max_tokens=900, timeout=0.2)))
    stream = engine.submit(request(max_tokens=900))
    next(stream)
    engine.close()
    with pytest.raises(EngineClosedError):
        list(stream)
    with pytest.raises(EngineClosedError):
        engine.submit(request())
