"""What goes to a server that steers and what comes back; the server itself is vllm_plugin's."""

import gc
import json
import math
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from langchain_amulet.engine import Finish, LoadOptions, Pause, Request, Token
from langchain_amulet.engine.backends.base import CacheScope, ModelInfo
from langchain_amulet.engine.loading.hub import POCKET_FOLDER
from langchain_amulet.engine.remote import RemoteEngine, RemoteModel, load_vllm
from langchain_amulet.engine.remote.answer_wire import (
    CACHED,
    TokenFailure,
    failed_rows,
    rows_of,
    token_of,
)
from langchain_amulet.engine.remote.http import Address
from langchain_amulet.engine.remote.request_wire import (
    MOST_GRAMMAR,
    WIRE,
    digest,
    fingerprint,
    read,
    write,
)
from langchain_amulet.engine.remote.sse import Answer
from langchain_amulet.errors import (
    ConfigurationError,
    ContextLengthError,
    GenerationError,
    RequestError,
    SchemaError,
    ServerError,
)
from langchain_amulet.grammar import GrammarCompiler, Resumption, json_rule
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
TOKENIZER = fingerprint({"a": 0, "b": 1})
REQUEST = Request(
    prompts=((5, 6, 7), (6, 7), (7,)),
    plan=PLAN,
    sampling=SamplingParams(temperature=0.5, top_p=0.9, seed=3, top_logprobs=2),
    max_tokens=3,
    stop_ids=frozenset({2, 4}),
    pauses=(Pause(frozenset({8, 9}), closing=10, from_start=True),),
)

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


@pytest.fixture(scope="module")
def compilers() -> tuple[GrammarCompiler, GrammarCompiler]:
    """One at either end; the server's may not go by the clock."""
    tokenizer = AutoTokenizer.from_pretrained(POCKET_FOLDER)
    size = len(tokenizer)
    return GrammarCompiler(tokenizer, size), GrammarCompiler(tokenizer, size, is_timed=False)


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


class Made:
    """A guard or a constraint, to which it is all the same, of these parts."""

    def __init__(self, **spec: object) -> None:
        self.spec = spec


@pytest.mark.parametrize("mask", [None, Plausibility(0.1), TopK(3), TopP(0.9)], ids=str)
def test_a_request_is_read_as_it_was_written(mask: Mask | None) -> None:
    asked = replace(REQUEST, plan=replace(PLAN, mask=mask))
    spec = read(write(asked, TOKENIZER))
    assert spec.request(asked.prompts, None, None) == asked
    assert spec.digests == tuple(map(digest, REQUEST.prompts))


def test_each_group_has_a_name_and_a_seed_of_its_own() -> None:
    asked = replace(REQUEST, sampling=SamplingParams())
    one, other = read(write(asked, TOKENIZER)), read(write(asked, TOKENIZER))
    assert one.group != other.group
    assert one.sampling.seed is not None
    assert one.sampling.seed != other.sampling.seed


def test_a_text_holds_no_token_of_the_prompts() -> None:
    longer = replace(REQUEST, prompts=((123456789,) * 9, (6, 7), (7,)))
    assert "123456789" not in write(longer, TOKENIZER)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"plan": replace(PLAN, contrasts=(), solver=Solver(2))}, "a solver's utility"),
        ({"trace": True}, "a trace"),
        ({"constraint": object()}, "a constraint of one's own"),
        ({"constraint": Resumption(" ", {}, 8)}, "beginning that ends in white space"),
        ({"guard": object()}, "a guard of one's own"),
        ({"constraint": Made(lark="start: 'a'")}, "a constraint of one's own"),
        ({"guard": Made(found=[], begun="", words=[])}, "a guard of one's own"),
        ({"guard": Made()}, "a guard of one's own"),
        ({"plan": replace(PLAN, streams=(*PLAN.streams[:2], Stream((), "other")))}, "a second"),
    ],
    ids=[
        "solver",
        "trace",
        "constraint",
        "beginning",
        "guard",
        *["of other parts"] * 3,
        "second model",
    ],
)
def test_what_can_t_run_elsewhere_is_refused_by_name(change, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        write(replace(REQUEST, **change), TOKENIZER)


def test_a_grammar_is_made_anew_at_the_other_end_and_allows_the_same(
    compilers: tuple[GrammarCompiler, GrammarCompiler],
) -> None:
    stops = frozenset({2})
    here = compilers[0].compile(f"start: {json_rule(SCHEMA)}", 24, stops, ["</think>"], turn=7)
    spec = read(write(replace(REQUEST, constraint=here, max_tokens=24, stop_ids=stops), TOKENIZER))
    assert spec.grammar is not None
    there = compilers[1].compile(max_tokens=spec.max_tokens, stops=spec.stop_ids, **spec.grammar)
    generator = torch.Generator().manual_seed(0)
    for _ in range(24):
        allowed = here.allowed()
        assert torch.equal(there.allowed(), allowed)
        token = int(torch.multinomial(allowed.float(), 1, generator=generator))
        if token in stops:
            break
        assert there.accept(token) == here.accept(token)


@pytest.mark.parametrize("found", [[], ["keep it short"]])
def test_a_guard_goes_over_whole_and_one_of_nothing_is_a_guard_too(found: list[str]) -> None:
    spec = read(write(replace(REQUEST, guard=Made(found=found, begun="Well")), TOKENIZER))
    assert spec.guard == {"found": found, "begun": "Well"}
    assert read(write(REQUEST, TOKENIZER)).guard is None


@pytest.mark.parametrize("ends", [[], ["</think>"]])
def test_a_grammar_longer_than_its_bound_is_refused_at_both_ends_with_the_figures(
    ends: list[str],
) -> None:
    def asked(length: int) -> Request:
        lark = "x" * (length - sum(map(len, ends)))
        return replace(REQUEST, constraint=Made(lark=lark, ends=ends, turn=None))

    text = write(asked(MOST_GRAMMAR), TOKENIZER)
    assert read(text).grammar is not None
    with pytest.raises(SchemaError, match="may have 100000 characters, but this one has 100001"):
        write(asked(MOST_GRAMMAR + 1), TOKENIZER)
    with pytest.raises(SchemaError, match="may have 100000 characters, but this one has 100002"):
        read(text.replace("xx", "xxxx", 1))


WRONG_GUARDS = [
    {}, [], "", 0, False, "found", ["found", "begun"], {"found": []}, {"begun": ""},
    {"found": [], "begun": "", "words": 3}, {"found": "abc", "begun": ""},
    {"found": [1], "begun": ""}, {"found": [], "begun": None},
]  # fmt: skip
WRONG_GRAMMARS = [
    {}, [], "", 0, False, {"lark": "start: 'a'"}, {"lark": 1, "ends": [], "turn": None},
    {"lark": "", "ends": "", "turn": None}, {"lark": "", "ends": [1], "turn": None},
    {"lark": "", "ends": [], "turn": "7"}, {"lark": "", "ends": [], "turn": None, "own": 1},
]  # fmt: skip


def broken() -> list[object]:
    """Texts in which something is missing, wrong, or unknown, and so might be passed over."""
    data = json.loads(write(REQUEST, TOKENIZER))
    without = [{k: v for k, v in data.items() if k != name} for name in data]
    wrong = [{**data, "anchor": 9}, {**data, "mask": {"kind": "Own"}}, {**data, "prompts": []}]
    wrong += [{**data, "wire": WIRE - 1}, {**data, "unknown": None}]
    wrong += [{**data, "guard": guard} for guard in WRONG_GUARDS]
    wrong += [{**data, "grammar": grammar} for grammar in WRONG_GRAMMARS]
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


def test_how_much_of_each_prompt_was_there_is_told_as_its_row_ends() -> None:
    answer, said = Answer(REQUEST), event(*said_of(Token(2, -0.5), 3))
    for part, cached in zip(said, (48, 0, 16), strict=True):
        part["choices"][0]["stop_reason"] = f"{CACHED}{cached}"
    assert [type(each) for part in said for each in answer.feed(part)] == [Finish]
    assert answer.cached == [48, 0, 16]


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


@pytest.mark.parametrize(
    ("setting", "value", "option"),
    [
        ("device", "cpu", "CUDA_VISIBLE_DEVICES"),
        ("dtype", "float32", "--dtype"),
        ("device_map", "auto", "--tensor-parallel-size"),
        ("quantization_config", {"load_in_4bit": True}, "--quantization"),
        ("attn_implementation", "eager", "--attention-backend"),
        ("use_safetensors", False, "--load-format"),
        ("cuda_graphs", False, "--enforce-eager"),
        ("compile", True, "--compilation-config"),
        ("max_rows", 8, "--max-num-seqs"),
        ("prefill_chunk", 256, "--max-num-batched-tokens"),
        ("kv_cache_memory", 2**30, "--kv-cache-memory-bytes"),
    ],
)
def test_a_setting_that_is_the_server_s_is_refused_by_name(setting, value, option) -> None:
    options = LoadOptions(backend="vllm", base_url="http://127.0.0.1:1/v1", **{setting: value})
    with pytest.raises(ConfigurationError, match=f"^{setting} is for .* server with {option}"):
        load_vllm("pocket", options)


def test_the_environment_s_dtype_is_that_of_models_in_this_process(monkeypatch) -> None:
    monkeypatch.setenv("LANGCHAIN_AMULET_DTYPE", "float64")
    with pytest.raises(ServerError, match="must answer"):
        load_vllm("pocket", LoadOptions(backend="vllm", base_url="http://127.0.0.1:1/v1"))


class Streaming(BaseHTTPRequestHandler):
    """Streams answers that never end: each row's token, again and again."""

    server: "StreamingServer"

    def do_POST(self) -> None:
        self.server.asked.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()
        parts = event(*said_of(Token(5, -0.5), 3))
        with suppress(OSError):  # which tells that the client hung up
            while True:
                for part in parts:
                    self.wfile.write(f"data: {json.dumps(part)}\n\n".encode())
                time.sleep(0.01)

    def log_message(self, *args: object) -> None:
        pass


class StreamingServer(ThreadingHTTPServer):
    """Keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Streaming)
        self.asked: queue.SimpleQueue[dict] = queue.SimpleQueue()

    def model(self, api_key: str | None = None) -> RemoteModel:
        address = Address(f"http://127.0.0.1:{self.server_port}", api_key)
        return RemoteModel(None, ModelInfo(99, 99), address, "model", TOKENIZER)


@pytest.fixture(scope="module")
def server() -> Iterator[StreamingServer]:
    with StreamingServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def streaming(server: StreamingServer) -> RemoteModel:
    return server.model()


def salts_at(server: StreamingServer, api_key: str | None, *scopes: CacheScope) -> list[str | None]:
    """By what a server is told to keep the scopes of a client with this key apart."""
    engine = RemoteEngine(server.model(api_key))
    while not server.asked.empty():
        server.asked.get()
    salts = []
    for scope in scopes:
        stream = engine.submit(replace(REQUEST, cache_scope=scope))
        next(stream)
        stream.close()
        salts.append(server.asked.get().get("cache_salt"))
    engine.close()
    return salts


def test_who_shares_what_a_server_has_computed_is_told_alike_by_all_clients_with_a_key(
    server: StreamingServer,
) -> None:
    scopes = [CacheScope(("user", name)) for name in ("ada", "bob", None)]
    first, again = (salts_at(server, "sk-of-one", *scopes) for _ in range(2))
    assert first == again
    # As any other process would: nothing in it is this one's own.
    assert first[0] == "71ec1ffa3942523cb11c47a8b251fbef0c0baab617ddd6c5391f1e666ad54fa5"


def test_a_client_with_another_key_or_none_can_not_make_a_user_s_salt_of_the_name(
    server: StreamingServer,
) -> None:
    scopes = [CacheScope(("user", name)) for name in ("ada", "bob", None)]
    salts = [
        each for key in ("sk-of-one", "sk-of-two", None) for each in salts_at(server, key, *scopes)
    ]
    assert len({*salts}) == len(salts) == 9
    assert None not in salts


def test_what_all_share_has_no_salt_and_what_nobody_shares_a_new_one_each_time(
    server: StreamingServer,
) -> None:
    alone = CacheScope("alone", keeps=False)
    everybody, first, second = salts_at(server, "sk-of-one", CacheScope(), alone, alone)
    assert everybody is None
    assert first and second and first != second


def test_clients_that_are_closed_or_dropped_leave_nothing_pending(
    streaming: RemoteModel, caplog: pytest.LogCaptureFixture
) -> None:
    for taken in (0, 1, 3) * 4:  # none, some, and all of an answer's tokens
        engine = RemoteEngine(streaming)
        stream = engine.submit(REQUEST)
        for _ in range(taken):
            next(stream)
        if taken % 2:
            engine.close()
        del engine, stream
        gc.collect()
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
    assert not [each for each in threading.enumerate() if each.name == "amulet-remote"]


def test_an_address_may_leave_out_v1_and_nothing_else() -> None:
    for given_url in ("http://host:8000", "http://host:8000/", "http://host:8000/v1/"):
        assert Address(given_url).base_url == "http://host:8000/v1"
    for wrong in ("host:8000", "ftp://host", "http://", ""):
        with pytest.raises(ConfigurationError, match="a server's address"):
            Address(wrong)
