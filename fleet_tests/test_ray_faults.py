"""A replica whose own code fails, one that dies, and callers who leave."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator

import httpx
import pytest

from support.processes import run_code
from support.ray_fleets import ROOT, VENV, RayFleet, ray_fleet

PRIVATE = "what the user said"
CONFIG = """
keys = [
    { name = "ada", key = "sk-of-ada", user = "ada" },
    { name = "webui", key = "sk-of-webui", for_others = true },
]
"""


@pytest.fixture(scope="module")
def faulty() -> Iterator[RayFleet]:
    with ray_fleet(CONFIG, program=["-m", "support.faulty_fleet"]) as made:
        yield made


def told(answer: httpx.Response) -> tuple[str, str]:
    """The error's kind and code, of an answer or of a stream's last event."""
    text = answer.text.strip().rpartition("data: ")[2]
    assert PRIVATE not in answer.text
    error = json.loads(text)["error"]
    return error["type"], error["code"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/raise", 500, "internal_error"),
        ("/stream/raise", 200, "internal_error"),
        ("/die", 503, "replica_lost"),
        ("/stream/die", 200, "replica_lost"),
    ],
)
def test_a_fault_of_the_replica_s_code_is_told_apart_from_its_loss(
    faulty: RayFleet, path: str, status: int, code: str
) -> None:
    answer = httpx.post(faulty.url + path, content=PRIVATE, timeout=60)
    assert answer.status_code == status
    assert told(answer) == ("server_error", code)
    assert ("retry-after" in answer.headers) == (status == 503)
    assert httpx.get(f"{faulty.url}/ready", timeout=60).is_success  # by the next one, if it died


def test_headers_go_on_as_they_are(faulty: RayFleet) -> None:
    answer = httpx.post(f"{faulty.url}/headers", content="Zoë, £5".encode("latin-1"), timeout=60)
    (odd,) = [value for name, value in answer.headers.raw if name == b"x-odd"]
    assert odd == "Zoë, £5".encode("latin-1")
    assert answer.headers.get_list("x-two") == ["1", "2"]


def test_a_session_is_told_by_no_name_that_others_could_try(faulty: RayFleet) -> None:
    def session(key: str, **body: str) -> str:
        sent = {"Authorization": f"Bearer {key}"}
        answer = httpx.post(f"{faulty.url}/session", json=body, headers=sent, timeout=60)
        return answer.headers["x-session"]

    expected = hmac.digest(b"secret", b"ada", hashlib.sha256).hex()
    assert session("sk-of-ada") == session("sk-of-webui", user="ada") == expected
    assert session("sk-of-webui", user="bob") not in ("", expected)
    assert session("sk-of-webui") == session("sk-of-nobody") == ""


def test_sessions_outlast_a_deployment_where_the_config_has_secrets_and_never_tell_them() -> None:
    code = """
from amulet_server import ServerSettings
from examples.ray_serve import _secret

one, other = dict(name="a", key="sk-of-ada"), dict(name="b", key="sk-of-bob")
signed = dict(secret="s" * 32)
made = [
    _secret(ServerSettings(**settings)) for settings in (
        dict(keys=[one, other]), dict(keys=[other, one]), dict(keys=[one]),
        dict(signed_header=signed), dict(keys=[one], signed_header=signed), {}, {},
    )
]
assert made[0] == made[1]
assert len({*made}) == 6
assert {len(each) for each in made} == {32}
"""
    done = run_code(VENV, code, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("path", ["/wait", "/stream/wait"], ids=["before it begins", "within it"])
async def test_a_caller_who_hangs_up_is_noticed_by_the_replica(faulty: RayFleet, path: str) -> None:
    async with httpx.AsyncClient(base_url=faulty.url, timeout=60) as client:

        async def counted(what: str) -> int:
            return int((await client.get(f"/{what}")).text.removeprefix("data: "))

        async def risen(what: str, before: int) -> None:
            async with asyncio.timeout(60):
                while await counted(what) == before:
                    await asyncio.sleep(0.05)

        async def read(reading: asyncio.Event) -> None:
            async with client.stream("POST", path) as answer:
                async for _ in answer.aiter_bytes():
                    reading.set()

        begun, left, reading = await counted("begun"), await counted("left"), asyncio.Event()
        call = asyncio.ensure_future(read(reading))
        await risen("begun", begun)
        if path.startswith("/stream"):
            await reading.wait()
        call.cancel()
        await risen("left", left)
