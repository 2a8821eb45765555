"""A fleet of two replicas: right answers, a user's calls together, and a replica that is killed."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import httpx
import pytest
from langgraph.store.postgres import PostgresStore

from langchain_amulet import ChatAmulet, PreferenceMemory
from support.postgres import Postgres
from support.ray_fleets import RayFleet

CHAT = "/v1/chat/completions"
QUESTION = "How do I sleep better?"
STYLES = ["Keep it short.", "Please use a formal tone.", "Be creative.", "Be uplifting."]


@dataclass
class Answer:
    """What came of a request.

    Attributes:
        status: Its status.
        replica: Who answered.
        texts: What each choice says.
        error: The error's object; empty if there is none.
        is_whole: Whether all of it came.
        kept: How many tokens of its prompt weren't computed.
    """

    status: int
    replica: str | None
    texts: dict[int, str] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)
    is_whole: bool = False
    kept: int = 0

    @property
    def text(self) -> str:
        (text,) = self.texts.values()
        return text


@pytest.fixture
async def client(fleet: RayFleet) -> AsyncIterator[httpx.AsyncClient]:
    """Calls as a front end does, which says in the body whose call it is."""
    headers = {"Authorization": "Bearer sk-of-webui"}
    async with httpx.AsyncClient(base_url=fleet.url, headers=headers, timeout=120) as made:
        yield made


async def ask(client: httpx.AsyncClient, user: str, **body: Any) -> Answer:
    """An answer in one piece."""
    asked = {"model": "pocket", "messages": [{"role": "user", "content": QUESTION}], "user": user}
    got = await client.post(CHAT, json=asked | body)
    told = got.json()
    texts = {each["index"]: each["message"]["content"] for each in told.get("choices", ())}
    error = told.get("error", {})
    kept = 0 if error else told["usage"]["prompt_tokens_details"]["cached_tokens"]
    return Answer(got.status_code, got.headers.get("x-replica"), texts, error, not error, kept)


async def stream(
    client: httpx.AsyncClient, user: str, begun: asyncio.Queue[str] | None = None, **body: Any
) -> Answer:
    """An answer in events; that it has begun is told to the queue by its replica's name."""
    asked = {"model": "pocket", "messages": [{"role": "user", "content": QUESTION}], "user": user}
    async with client.stream("POST", CHAT, json={**asked, **body, "stream": True}) as got:
        answer = Answer(got.status_code, got.headers.get("x-replica"))
        if got.is_error:
            answer.error = json.loads(await got.aread())["error"]
            return answer
        if begun is not None and answer.replica is not None:
            begun.put_nowait(answer.replica)
        async for line in got.aiter_lines():
            event = line.removeprefix("data: ")
            answer.is_whole |= event == "[DONE]"
            if event in ("", "[DONE]"):
                continue
            told = json.loads(event)
            answer.error |= told.get("error", {})
            for choice in told.get("choices", ()):
                index, said = choice["index"], choice["delta"].get("content") or ""
                answer.texts[index] = answer.texts.get(index, "") + said
    return answer


async def neighbours(client: httpx.AsyncClient, each: int) -> list[str]:
    """So many users of either replica."""
    homes: dict[str, list[str]] = {}
    for number in range(100):
        user = f"neighbour{number}"
        got = await client.get("/v1/preferences", params={"user": user})
        homes.setdefault(got.headers["x-replica"], []).append(user)
        if len(homes) == 2 and min(map(len, homes.values())) >= each:
            return [user for users in homes.values() for user in users[:each]]
    raise AssertionError({replica: len(users) for replica, users in homes.items()})


async def counted(client: httpx.AsyncClient, user: str, name: str) -> float:
    """A figure of the engine to which a user's calls come."""
    got = await client.get("/metrics", params={"user": user})
    (value,) = re.findall(rf"^amulet_engine_{name} (\S+)$", got.text, re.MULTILINE)
    return float(value)


async def test_all_answers_are_those_of_the_engine_alone_whichever_replica_gives_them(
    client: httpx.AsyncClient, alone: ChatAmulet
) -> None:
    styles = dict(zip(await neighbours(client, 4), STYLES * 2, strict=True))
    expected = {style: alone.invoke(QUESTION, preference=style).text for style in STYLES}
    answers = await asyncio.gather(
        *(ask(client, user, preference=style) for user, style in styles.items()),
        *(stream(client, user, preference=style) for user, style in styles.items()),
    )
    assert [answer.text for answer in answers] == [expected[s] for s in styles.values()] * 2
    assert all(answer.is_whole for answer in answers)
    assert len({answer.replica for answer in answers}) == 2


async def test_a_user_s_calls_come_to_one_replica_which_has_their_conversation(
    client: httpx.AsyncClient,
) -> None:
    for user in await neighbours(client, 3):
        first = await ask(client, user)
        again = [await ask(client, user) for _ in range(3)]
        assert {answer.replica for answer in again} == {first.replica}
        assert all(answer.kept > 10 for answer in again)


async def test_a_user_is_the_same_whether_they_call_or_a_front_end_does(
    client: httpx.AsyncClient, fleet: RayFleet
) -> None:
    own = {"Authorization": "Bearer sk-of-ada"}
    async with httpx.AsyncClient(base_url=fleet.url, headers=own, timeout=120) as ada:
        assert (await ask(ada, "ada")).replica == (await ask(client, "ada")).replica


async def test_nobody_s_name_or_key_stands_in_what_ray_logs(
    client: httpx.AsyncClient, fleet: RayFleet
) -> None:
    name = "Zebulon Quagmire"
    await ask(client, name)
    await client.get("/v1/preferences", params={"user": name})
    logs = [file.read_bytes() for file in fleet.folder.rglob("*.log") if file.is_file()]
    assert any(b"POST / 200" in log for log in logs)
    hashed = sha256(name.encode()).hexdigest()
    for word in ("Zebulon", "Quagmire", hashed, "sk-of-webui", "sk-of-ada"):
        assert not any(word.encode() in log for log in logs)


async def until(client: httpx.AsyncClient, name: str, value: float) -> None:
    async with asyncio.timeout(60):
        while await counted(client, "user0", name) != value:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("is_streamed", [True, False])
async def test_a_caller_who_hangs_up_frees_their_rows(
    client: httpx.AsyncClient, is_streamed: bool
) -> None:
    before = await counted(client, "user0", "cancelled_total")
    body = {"model": "pocket@detailed", "messages": [{"role": "user", "content": QUESTION}]}
    body |= {"user": "user0", "n": 8, "stream": is_streamed}
    call = asyncio.ensure_future(client.post(CHAT, json=body))
    await until(client, "rows", 8)
    call.cancel()
    await until(client, "rows", 0)
    assert await counted(client, "user0", "cancelled_total") > before


async def test_what_the_server_refuses_is_refused_in_its_words(
    client: httpx.AsyncClient, fleet: RayFleet
) -> None:
    unknown = await ask(client, "ada", colour="red")
    assert (unknown.status, unknown.error["param"]) == (400, "colour")
    long = await client.post(CHAT, content=b" " * (4 * 2**20 + 1))
    assert (long.status_code, long.json()["error"]["code"]) == (413, "too_long")
    json_type = {"Content-Type": "application/json"}
    half = await client.post(CHAT, content=rb'{"user": "\ud800"}', headers=json_type)
    assert (half.status_code, half.json()["error"]["code"]) == (400, "invalid_json")
    got = httpx.get(f"{fleet.url}/v1/models")
    assert (got.status_code, len(got.headers.get_list("x-request-id"))) == (401, 1)


async def test_more_calls_than_may_wait_are_told_when_to_come_again(
    client: httpx.AsyncClient,
) -> None:
    """Two replicas take 8 calls each, and 24 wait, those of a burst until Ray has placed them."""
    answers = await asyncio.gather(*(ask(client, "ada", n=4) for _ in range(60)))
    refused = [answer for answer in answers if answer.status == 429]
    assert {answer.status for answer in answers} == {200, 429}
    assert {answer.error["code"] for answer in refused} == {"rate_limit_exceeded"}
    assert len(answers) - len(refused) >= 24


async def test_a_replica_that_is_killed_loses_its_own_calls_and_no_preference(
    client: httpx.AsyncClient, fleet: RayFleet, alone: ChatAmulet, postgres: Postgres
) -> None:
    style = "Please explain everything in detail."
    expected = alone.invoke(QUESTION, preference=style).text
    users = await neighbours(client, 4)
    for user in users:  # each by the replica that is theirs
        kept = await client.put("/v1/preferences", json={"user": user, "preference": style})
        assert kept.is_success
    begun: asyncio.Queue[str] = asyncio.Queue()
    calls = [asyncio.ensure_future(stream(client, user, begun, n=8)) for user in users]
    replicas: set[str] = set()
    async with asyncio.timeout(120):
        while len(replicas) < 2:
            replicas.add(await begun.get())
    victim, *others = fleet.replicas()
    assert len(others) == 1
    victim.kill()
    answers = await asyncio.gather(*calls)

    lost = [answer for answer in answers if not answer.is_whole]
    survivor = {answer.replica for answer in answers if answer.is_whole} & replicas
    assert len(survivor) == 1
    assert lost
    assert {answer.error["code"] for answer in lost} == {"replica_lost"}
    assert survivor.isdisjoint(answer.replica for answer in lost)
    for answer in answers:
        if answer.is_whole:
            assert answer.texts == dict.fromkeys(range(8), expected)

    # What was set on the one that is gone counts on the others.
    later = await asyncio.gather(*(ask(client, user) for user in users))
    assert [answer.text for answer in later] == [expected] * len(users)
    assert (replicas - survivor).isdisjoint(answer.replica for answer in later)
    with PostgresStore.from_conn_string(postgres.uri) as store:
        memory = PreferenceMemory(store)
        assert {memory.get(user)[0].text for user in users} == {style}
