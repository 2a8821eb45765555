"""A running server under load, with callers who leave, don't read, or send what they mustn't."""

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from amulet_server import create_app, opened, read_settings
from amulet_server.running import DrainingServer, listen
from amulet_server.transport.logs import JsonLines
from langchain_amulet.engine import Stats
from support.servers import CONVERSATION, STEADY, RunningServer, running

CHAT = "/v1/chat/completions"
LONG: dict[str, Any] = {"model": "tiny", "messages": CONVERSATION, "max_tokens": 900}
"""What random weights answer, which come to no end."""


@pytest.fixture(scope="module")
def rambling(tiny: str) -> Iterator[RunningServer]:
    with running(read_settings(model=tiny, name="tiny", **STEADY)) as found:
        yield found


def stats(server: RunningServer) -> Stats:
    return server.service.llm.stats()


def until(is_so: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


async def test_many_streams_at_once_are_each_what_the_same_call_alone_gives(
    server: RunningServer,
) -> None:
    styles = ["concise ++", "concise --", "formal ++", "lists ++"]
    alone = {s: server.ask(server.openai(), extra_body={"preference": s}) for s in styles}
    assert len(set(alone.values())) == len(styles)

    async def streamed(style: str) -> str:
        chunks: Any = await client.chat.completions.create(
            model="pocket", messages=CONVERSATION, stream=True, extra_body={"preference": style}
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=120) as client:
        answers = await asyncio.gather(*(streamed(style) for style in styles * 16))
    assert answers == [alone[style] for style in styles * 16]


def post(server: RunningServer, caller: socket.socket, body: dict[str, Any]) -> None:
    """Ask for an answer, and read nothing of it."""
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    sent = json.dumps(body).encode()
    caller.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    caller.sendall(head.encode() + f"Content-Length: {len(sent)}\r\n\r\n".encode() + sent)


@pytest.mark.parametrize("stream", [True, False])
def test_a_caller_who_hangs_up_frees_their_rows_at_once(
    rambling: RunningServer, stream: bool
) -> None:
    before = stats(rambling).cancelled
    with socket.socket() as caller:
        post(rambling, caller, {**LONG, "stream": stream})
        until(lambda: stats(rambling).rows == 1)
    until(lambda: stats(rambling).rows == 0, seconds=5)
    assert stats(rambling).cancelled > before


def test_a_reader_who_doesn_t_read_stalls_nobody(rambling: RunningServer) -> None:
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        post(rambling, slow, {**LONG, "stream": True})
        until(lambda: stats(rambling).active_requests >= 1)
        assert rambling.ask(rambling.openai(), model="tiny", max_tokens=5)
    until(lambda: stats(rambling).rows == 0)


def test_a_queue_that_is_full_is_told_with_when_to_come_again() -> None:
    tight = {**STEADY, "load": {"dtype": "float32", "max_rows": 2, "max_queue": 1}}

    async def all_at_once(url: str) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            body = {"model": "pocket@detailed", "messages": CONVERSATION}
            return await asyncio.gather(*(client.post(CHAT, json=body) for _ in range(12)))

    with running(read_settings(**tight)) as server:
        answers = asyncio.run(all_at_once(server.url))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert refused[0].json()["error"]["code"] == "rate_limit_exceeded"


def test_a_closed_model_is_told_as_such() -> None:
    with running(read_settings(**STEADY)) as server:
        server.service.llm.close()
        with pytest.raises(openai.InternalServerError) as caught:
            server.ask(server.openai())
    assert (caught.value.status_code, caught.value.code) == (503, "model_closed")


@pytest.mark.parametrize(
    "body, status, code",
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"[" * 10_000 + b"]" * 10_000, 400, "invalid_json"),
        (b'{"model": "\\ud800"}', 400, "invalid_json"),
        (b'{"model": "pocket", "temperature": NaN}', 400, "invalid_json"),
        (b"[]", 400, "invalid_value"),
        (b"x" * (4 * 2**20 + 1), 413, "too_long"),
    ],
    ids=["nothing", "half", "nested", "half a character", "no number", "a list", "too long"],
)
def test_a_body_that_can_t_be_is_refused(
    server: RunningServer, body: bytes, status: int, code: str
) -> None:
    client = server.http(content_type="application/json")
    answer = client.post(CHAT, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_what_is_no_json_is_told_by_its_place(server: RunningServer) -> None:
    client = server.http(content_type="application/json")
    answer = client.post(CHAT, content=b'{"model": "a very secret pirate",}')
    message = answer.json()["error"]["message"]
    assert "line 1 column 34" in message
    assert "pirate" not in message


JSON, TEXT = {"content-type": "application/json"}, {"content-type": "text/plain"}
PAGE = {"origin": "https://pages.example", "access-control-request-method": "POST"}
REFUSALS: dict[str, tuple[tuple[str, str, dict[str, str], bytes], int, str]] = {
    "host": (("GET", "/health", {"host": "pages.example"}, b""), 400, "unknown_host"),
    "no host": (("GET", "/", {"host": ""}, b""), 400, "unknown_host"),
    "path": (("GET", "/nowhere", {}, b""), 404, "not_found"),
    "file": (("GET", "/playground/nowhere.js", {}, b""), 404, "not_found"),
    "method": (("DELETE", "/v1/models", {}, b""), 405, "method_not_allowed"),
    "a file's method": (("POST", "/playground/main.js", {}, b""), 405, "method_not_allowed"),
    "page": (("OPTIONS", CHAT, PAGE, b""), 400, "unknown_origin"),
    "type": (("POST", CHAT, TEXT, b"{}"), 400, "invalid_content_type"),
    "no type": (("POST", CHAT, {}, b"{}"), 400, "invalid_content_type"),
    "no body": (("POST", CHAT, JSON, b""), 400, "invalid_json"),
    "no JSON": (("POST", CHAT, JSON, b"{"), 400, "invalid_json"),
    "length": (("POST", CHAT, JSON, b" " * (4 * 2**20 + 1)), 413, "too_long"),
    "query": (("GET", "/v1/models?a=b", {}, b""), 400, "unknown_parameter"),
}
"""Requests that no route answers, with the status and the code of what is said to them."""


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused_before_a_route_is_told_as_openai_tells_errors(
    server: RunningServer, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "amulet_server")
    (method, path, headers, body), status, code = REFUSALS[case]
    client = server.http(x_request_id="of-this-case")
    answer = client.request(method, path, headers=headers, content=body)
    error = answer.json()["error"]
    assert answer.headers["content-type"] == "application/json"
    assert error.keys() == {"message", "type", "param", "code"}
    assert (answer.status_code, error["type"]) == (status, "invalid_request_error")
    assert error["code"] == code
    assert ": " in error["message"] and "pages.example" not in error["message"]
    assert answer.headers["x-request-id"] == "of-this-case"
    until(lambda: any("of-this-case" in JsonLines().format(each) for each in caplog.records))
    (line,) = (each for each in map(JsonLines().format, caplog.records) if "of-this-case" in each)
    assert json.loads(line)["error"] == code


@pytest.mark.parametrize(
    "wrong, status, code",
    [(b"GARBAGE\r\n\r\n", 400, "invalid_http"), (b"GET /" + b"a" * 2**16, 431, "head_too_long")],
    ids=["nonsense", "head"],
)
def test_so_is_what_is_no_request_by_the_server_of_the_command(
    wrong: bytes, status: int, code: str
) -> None:
    with opened(read_settings(**STEADY)) as service:
        server = DrainingServer(service)
        (listening,) = listen("127.0.0.1", 0)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        with socket.create_connection(listening.getsockname(), timeout=60) as caller:
            caller.sendall(wrong)
            head, _, body = caller.makefile("rb").read().partition(b"\r\n\r\n")
        server.should_exit = True
        thread.join()
    error = json.loads(body)["error"]
    assert (int(head.split()[1]), error["code"]) == (status, code)
    assert ": " in error["message"]


def test_a_page_may_call_in_any_way_whose_origin_is_named_and_no_other() -> None:
    own = {**PAGE, "origin": "https://own.example"}
    local = {**own, "access-control-request-private-network": "true"}
    with opened(read_settings(cors_origins=[own["origin"]], **STEADY)) as service:
        client = TestClient(create_app(service), "http://localhost")
        refused = client.options(CHAT, headers=PAGE)
        welcome = [client.options(CHAT, headers=headers) for headers in (own, local)]
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unknown_origin")
    assert "access-control-allow-origin" not in refused.headers
    for answer in welcome:
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == own["origin"]


def test_a_body_that_doesn_t_say_how_long_it_is_is_bounded_too(server: RunningServer) -> None:
    pieces = (b" " * 2**16 for _ in range(80))
    answer = server.http(content_type="application/json").post(CHAT, content=pieces)
    assert answer.status_code == 413


def test_a_web_page_can_t_call_by_a_name_or_a_type_that_needs_no_leave(
    server: RunningServer,
) -> None:
    body = json.dumps({"model": "pocket", "messages": CONVERSATION})
    client = server.http()
    other = client.get("/health", headers={"host": "pages.example"})
    plain = client.post(CHAT, content=body, headers=TEXT)
    codes = [answer.json()["error"]["code"] for answer in (other, plain)]
    assert codes == ["unknown_host", "invalid_content_type"]
    assert "access-control-allow-origin" not in client.get("/health").headers


def test_conversations_have_a_limit_and_so_has_all_that_a_body_holds() -> None:
    settings = read_settings(limits={"messages": 2, "values": 1024}, **STEADY)
    with running(settings) as server:
        # Neither is looked through for what is wrong in it.
        for messages in (CONVERSATION * 3, [1, 2, 3]):
            answer = server.http().post(CHAT, json={"model": "pocket", "messages": messages})
            error = answer.json()["error"]
            assert (answer.status_code, error["param"], error["code"]) == (
                400,
                "messages",
                "too_many",
            )
        for path in (CHAT, "/v1/preferences/forget"):
            answer = server.http().post(path, json={"texts": [1] * 1024})
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (413, "too_long")
            assert "limits.values" in error["message"]


def test_what_is_alive_and_what_is_ready_differ_and_neither_is_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "amulet_server")
    broken = read_settings(model="no/such/model", **STEADY)
    with opened(broken) as service, TestClient(create_app(service), "http://localhost") as client:
        until(lambda: service.readiness.failure is not None)
        assert client.get("/health").status_code == 200
        unready = client.get("/ready")
        assert (unready.status_code, unready.json()["error"]["code"]) == (503, "not_ready")
    assert {record.levelname for record in caplog.records if record.name == "amulet_server"} == {
        "INFO"
    }


@pytest.mark.parametrize("code, level", [("server_stopped", "INFO"), ("model_closed", "ERROR")])
def test_an_answer_that_ends_as_the_server_stops_is_no_fault_in_the_log(
    code: str, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "amulet_server")
    with running(read_settings(**STEADY)) as server:
        end = server.service.cut.set if code == "server_stopped" else server.service.llm.close
        end()
        answer = server.http().post(CHAT, json={"model": "pocket", "messages": CONVERSATION})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, code)
    (logged,) = (record for record in caplog.records if record.name == "amulet_server")
    assert logged.levelname == level


def test_paths_that_there_aren_t_are_answered_with_where_the_api_is(server: RunningServer) -> None:
    for method, path, status in (("POST", "/chat/completions", 404), ("DELETE", "/v1/models", 405)):
        answer = server.http().request(method, path)
        assert answer.status_code == status
        assert "under /v1" in answer.json()["error"]["message"]


def test_logs_counts_and_errors_tell_nothing_of_what_anybody_wrote(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "Talk like a very secret pirate"
    caplog.set_level(logging.DEBUG)
    client = server.http(x_request_id="of-this-test")
    body = {"model": "pocket", "messages": CONVERSATION, "preference": secret, "user": "zoe"}
    answered = client.post(CHAT, json=body)
    client.put("/v1/preferences", json={"preference": secret, "user": "zoe"})
    client.post("/v1/preferences/forget", json={"text": secret, "user": "zoe"})
    client.get(f"/{secret}")
    refused = [
        client.post(CHAT, json={**body, "preference": {"text": secret, "mood": secret}}),
        client.post(CHAT, json={**body, "preference": secret * 200}),
        client.post(CHAT, json={**body, "messages": [{"role": secret, "content": secret}]}),
        client.post(CHAT, json={**body, secret: 1, "n": secret}),
        client.post(CHAT, json={**body, secret: 1}),
        client.post(CHAT, json={**body, "metadata": {secret: 5}}),
        client.post(CHAT, json={**body, "tools": [{"type": "function", secret: {"a": secret}}]}),
        client.get("/v1/models", params={secret: "1"}),
    ]
    assert answered.headers["x-request-id"] == "of-this-test"
    assert [answer.status_code for answer in refused] == [400] * 8
    others = ("httpx", "httpcore", "uvicorn.access")  # this test's client, and what serve turns off
    records = [record for record in caplog.records if not record.name.startswith(others)]
    lines = [JsonLines().format(record) for record in records]
    told = "\n".join([*lines, client.get("/metrics").text])
    assert "pirate" not in told and CONVERSATION[0]["content"] not in told
    requests = [json.loads(line) for line in lines if '"request_id"' in line]
    chat = next(line for line in requests if line["route"] == CHAT)
    assert (chat["request_id"], chat["status"], chat["steered"]) == ("of-this-test", 200, True)
    assert chat["completion_tokens"] > 0


def test_a_fault_of_ours_is_told_without_what_it_says(
    server: RunningServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a very secret pirate")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr("amulet_server.routes.chat.to_messages", broken)
    answer = server.http().post(CHAT, json={"model": "pocket", "messages": CONVERSATION})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    lines = [JsonLines().format(record) for record in caplog.records]
    assert "pirate" not in answer.text + "\n".join(lines)
    (line,) = (json.loads(each) for each in lines if "KeyError" in each)
    assert line["fault"] == "KeyError"
    assert "broken" in line["at"][-1]


def counts(server: RunningServer) -> dict[str, float]:
    """What Prometheus reads."""
    text = server.http().get("/metrics").text
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_is_counted_can_be_read_by_prometheus(server: RunningServer) -> None:
    before = counts(server)
    server.ask(server.openai(), extra_body={"preference": "concise"}, n=2)
    after = counts(server)
    steered = "amulet_answers_total[('steered', 'true')]"
    assert after[steered] - before.get(steered, 0) == 2
    prompt = "amulet_tokens_total[('kind', 'prompt')]"
    assert 0 < after[prompt] - before.get(prompt, 0) < 100
    first = "amulet_time_to_first_token_seconds_count[]"
    assert after[first] - before.get(first, 0) == 1
    assert after["amulet_engine_queued[]"] == 0


def test_the_engine_s_own_figures_are_counted_those_of_its_cache_too(
    server: RunningServer,
) -> None:
    question = [{"role": "user", "content": "How can I fall asleep faster?"}]
    server.ask(server.openai(), messages=question)
    before = counts(server)
    server.ask(server.openai(), messages=question)
    until(lambda: stats(server).active_requests == 0)
    after = counts(server)
    for name, least in (("cache_hits", 1), ("cache_read_tokens", 5), ("finished", 1)):
        sample = f"amulet_engine_{name}_total[]"
        assert after[sample] >= before[sample] + least
    for field in fields(Stats):
        if getattr(stats(server), field.name) is not None:
            name = f"amulet_engine_{field.name}"
            assert f"{name}[]" in after or f"{name}_total[]" in after
