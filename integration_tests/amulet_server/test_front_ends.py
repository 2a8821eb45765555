"""What chat front ends send, word for word as far as it matters, and that they are understood.

The front ends themselves are too large to be installed for a test. Their requests are as the public
sources of Open WebUI 0.12.4 (routers/openai.py, routers/tasks.py, utils/headers.py), LibreChat
(endpoints/custom) and SillyTavern (endpoints/backends/chat-completions.js) write them.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest

from amulet_server import read_settings
from support.servers import CONVERSATION, QUESTION, STEADY, RunningServer, running

CHAT = "/v1/chat/completions"
SECRET = "a secret that Open WebUI and this server have in common"
TITLE = "### Task:\nGenerate a concise, 3-5 word title.\n### Chat History:\nUSER: " + QUESTION
SETTINGS: dict[str, Any] = {
    "keys": [{"name": "front-end", "key": "sk-front-end", "for_others": True}],
    "signed_header": {"secret": SECRET, "issuer": "open-webui"},
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server for front ends, with a user who has a preference."""
    store = str(tmp_path_factory.mktemp("front-ends") / "preferences.db")
    with running(read_settings(store=store, **SETTINGS, **STEADY)) as server:
        server.service.llm.memory.set("ada", "Keep it short.")
        yield server


def plainly(server: RunningServer, question: str = QUESTION, **options: Any) -> str:
    return str(server.service.llm.invoke(question, **options).text)


def post(server: RunningServer, body: dict[str, Any], **headers: str) -> httpx.Response:
    named = {"Authorization": "Bearer sk-front-end", "Content-Type": "application/json", **headers}
    content = json.dumps(body)
    answer = httpx.post(f"{server.url}{CHAT}", content=content, headers=named, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer


def streamed(answer: httpx.Response) -> str:
    """What a stream says, read as these front ends read it: line by line until it is done."""
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    *events, done = lines
    assert done == "[DONE]"
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


# --- Open WebUI ---


def open_webui(user: str, task: str = "") -> dict[str, str]:
    """Headers of a connection with FORWARD_USER_INFO_HEADER_JWT_SECRET, and with {{TASK}} in it."""
    now = int(time.time())
    claims = {"sub": user, "email": f"{user}@example.org", "name": user, "role": "user"}
    claims |= {"iss": "open-webui", "iat": now, "exp": now + 300}
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    return {"X-OpenWebUI-User-Jwt": token, "X-OpenWebUI-Task": task}


def test_open_webui_streams_to_each_user_in_their_style(shared: RunningServer) -> None:
    body = {
        "stream": True,
        "model": "pocket",
        "messages": CONVERSATION,
        "stream_options": {"include_usage": True},
    }
    short = plainly(shared, preference="Keep it short.")
    assert streamed(post(shared, body, **open_webui("ada"))) == short
    assert streamed(post(shared, body, **open_webui("bob"))) == plainly(shared)


@pytest.mark.parametrize(
    "task",
    ["title_generation", "tags_generation", "follow_up_generation", "query_generation"],
)
def test_open_webui_s_own_calls_are_nobody_s_style(shared: RunningServer, task: str) -> None:
    body = {
        "model": "pocket",
        "messages": [{"role": "user", "content": TITLE}],
        "stream": False,
        "max_completion_tokens": 64,
    }
    answer = post(shared, body, **open_webui("ada", task)).json()
    expected = plainly(shared, TITLE, max_tokens=64)
    assert answer["choices"][0]["message"]["content"] == expected


def test_open_webui_finds_models_and_styles_by_the_same_key(shared: RunningServer) -> None:
    headers = {"Authorization": "Bearer sk-front-end", **open_webui("ada")}
    listed = httpx.get(f"{shared.url}/v1/models", headers=headers).json()
    assert {"pocket", "pocket@concise"} <= {model["id"] for model in listed["data"]}


# --- LibreChat ---


def test_librechat_names_its_user_in_the_body(shared: RunningServer) -> None:
    body = {
        "model": "pocket",
        "user": "ada",
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
        "top_p": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "messages": CONVERSATION,
    }
    expected = plainly(shared, preference="Keep it short.")
    assert streamed(post(shared, body, **{"X-Stainless-Lang": "js"})) == expected


# --- SillyTavern ---

CHARACTER: list[dict[str, Any]] = [
    {"role": "system", "content": "Write Seraphina's next reply in a chat with User."},
    {"role": "system", "content": "[Start a new Chat]"},
    {"role": "assistant", "content": "You wake up in a glade."},
    *CONVERSATION,
]


def sillytavern(**additional: Any) -> dict[str, Any]:
    """A request of its source "Custom", with what "Additional parameters" puts in."""
    return {
        "messages": CHARACTER,
        "model": "pocket",
        "temperature": 0,
        "max_tokens": 300,
        "stream": True,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "top_p": 1,
        "stop": ["\nUser:"],
        "logit_bias": {},
        **additional,
    }


def test_sillytavern_steers_by_additional_parameters(shared: RunningServer) -> None:
    plain = streamed(post(shared, sillytavern()))
    found = [
        streamed(post(shared, sillytavern(**more)))
        for more in (
            {"preference": "creative ++"},
            {"preference": "Keep it short.", "guidance_scale": 2.0},
            {"negative_prompt": "Please explain everything in detail.", "guidance_scale": 2.0},
        )
    ]
    assert plain and all(found)
    assert any(text != plain for text in found)


def test_sillytavern_shows_the_probabilities_of_tokens_as_they_come(shared: RunningServer) -> None:
    answer = post(shared, sillytavern(logprobs=True, top_logprobs=5))
    *events, _ = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    choices = [json.loads(event)["choices"][0] for event in events]
    told = [len((choice.get("logprobs") or {"content": []})["content"]) for choice in choices]
    assert sum(map(bool, told)) > len(choices) // 2
