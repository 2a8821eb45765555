"""Users of a running server: each is answered in their own style, and sees nobody else's."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import openai
import pytest

from amulet_server import read_settings
from langchain_amulet.preferences import TRAITS, Preference
from support.postgres import Postgres
from support.servers import CONVERSATION, QUESTION, STEADY, RunningServer, running

SECRET = "a secret that a front end and this server have in common"
KEYS = [
    {"name": "ada", "key": "sk-of-ada", "user": "ada"},
    {"name": "bob", "key": "sk-of-bob", "user": "bob"},
    {"name": "webui", "key": "sk-of-webui", "for_others": True},
    {"name": "acme", "key": "sk-of-acme", "for_others": True, "tenant": "acme"},
]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = read_settings(
        store=str(tmp_path_factory.mktemp("guarded") / "preferences.db"),
        keys=KEYS,
        signed_header={"secret": SECRET},
        trusted_header={"header": "X-User", "trusted_proxies": ["203.0.113.0/24"]},
        **STEADY,
    )
    with running(settings) as server:
        server.service.llm.memory.set("ada", "Keep it short.")
        yield server


def styled(server: RunningServer, preference: str | None) -> str:
    return str(server.service.llm.invoke(QUESTION, preference=preference).text)


def token(user: str) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + 60}, SECRET)


def test_each_key_s_user_is_answered_in_their_own_style(guarded: RunningServer) -> None:
    assert guarded.ask(guarded.openai("sk-of-ada")) == styled(guarded, "Keep it short.")
    assert guarded.ask(guarded.openai("sk-of-bob")) == styled(guarded, None)


@pytest.mark.parametrize(
    "said",
    [{"user": "ada"}, {"safety_identifier": "ada"}, {"metadata": {"user_id": "ada"}}],
    ids=["user", "safety_identifier", "metadata"],
)
def test_only_a_key_that_may_names_a_user_in_the_body(
    guarded: RunningServer, said: dict[str, Any]
) -> None:
    short = styled(guarded, "Keep it short.")
    assert guarded.ask(guarded.openai("sk-of-webui"), **said) == short
    assert guarded.ask(guarded.openai("sk-of-ada"), **said) == short
    with pytest.raises(openai.PermissionDeniedError) as caught:
        guarded.ask(guarded.openai("sk-of-bob"), **said)
    assert caught.value.param == next(iter(said))


def test_the_fields_of_a_body_must_name_the_same_user(guarded: RunningServer) -> None:
    with pytest.raises(openai.BadRequestError):
        guarded.ask(guarded.openai("sk-of-webui"), user="ada", safety_identifier="bob")


def test_a_tenant_s_user_is_nobody_else_of_that_name(guarded: RunningServer) -> None:
    assert guarded.ask(guarded.openai("sk-of-acme"), user="ada") == styled(guarded, None)
    acme, webui = (guarded.http(authorization=f"Bearer sk-of-{k}") for k in ("acme", "webui"))
    acme.put("/v1/preferences", json={"user": "eve", "preference": "formal"}).raise_for_status()
    assert acme.get("/v1/preferences", params={"user": "eve"}).json()["data"]
    for name in ("eve", "acme/eve", "acme%2Feve"):
        assert webui.get("/v1/preferences", params={"user": name}).json()["data"] == []


def test_a_front_end_s_signed_header_names_the_user(guarded: RunningServer) -> None:
    client = guarded.openai("sk-of-webui", X_OpenWebUI_User_Jwt=token("ada"))
    assert guarded.ask(client) == styled(guarded, "Keep it short.")
    with pytest.raises(openai.PermissionDeniedError):
        guarded.ask(client, user="bob")
    forged = jwt.encode({"sub": "ada", "exp": time.time() + 60}, "x" * 40)
    with pytest.raises(openai.AuthenticationError):
        guarded.ask(guarded.openai("sk-of-webui", X_OpenWebUI_User_Jwt=forged))


def test_a_trusted_header_that_no_proxy_sent_is_refused(guarded: RunningServer) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        guarded.ask(guarded.openai("sk-of-webui", X_User="ada"))
    forwarded = guarded.openai("sk-of-webui", X_User="ada", X_Forwarded_For="203.0.113.5")
    with pytest.raises(openai.PermissionDeniedError):
        guarded.ask(forwarded)


def test_a_header_that_is_sent_twice_lets_nobody_choose_who_they_are(
    guarded: RunningServer,
) -> None:
    for name, values in {
        "X-User": ("ada", "bob"),
        "X-OpenWebUI-User-Jwt": (token("ada"), token("bob")),
        "Authorization": ("Bearer sk-of-ada", "Bearer sk-of-bob"),
    }.items():
        sent = [(name, each) for each in values]
        answer = httpx.get(f"{guarded.url}/v1/preferences", headers=sent)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "repeated_header")


@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/models"),
        ("GET", "/v1/preferences"),
        ("PUT", "/v1/preferences"),
        ("DELETE", "/v1/preferences"),
        ("POST", "/v1/preferences/forget"),
        ("GET", "/v1/preferences/history"),
        ("GET", "/metrics"),
    ],
)
def test_without_a_key_nothing_is_told(guarded: RunningServer, method: str, path: str) -> None:
    body = {"model": "pocket", "messages": CONVERSATION, "preference": "formal"}
    kept = {"/v1/chat/completions": body, "/v1/preferences": {"preference": "formal"}}
    sent = kept.get(path, {}) if method in ("POST", "PUT") else None
    for client in (guarded.http(), guarded.http(authorization="Bearer sk-of-eve")):
        answer = client.request(method, path, json=sent)
        assert answer.status_code == 401, answer.text
        assert answer.headers["www-authenticate"] == "Bearer"


def test_nobody_reads_or_changes_what_another_prefers(guarded: RunningServer) -> None:
    bob = guarded.http(authorization="Bearer sk-of-bob")
    for answer in (
        bob.get("/v1/preferences", params={"user": "ada"}),
        bob.get("/v1/preferences/history", params={"user": "ada"}),
        bob.delete("/v1/preferences", params={"user": "ada"}),
        bob.put("/v1/preferences", json={"user": "ada", "preference": "formal"}),
        bob.post("/v1/preferences", json={"user": "ada", "preference": "formal"}),
        bob.post("/v1/preferences/forget", json={"user": "ada"}),
    ):
        assert answer.status_code == 403
        assert "short" not in answer.text
    assert bob.get("/v1/preferences").json()["data"] == []


def test_what_one_prefers_is_set_added_to_listed_forgotten_and_erased(
    guarded: RunningServer,
) -> None:
    client = guarded.http(authorization="Bearer sk-of-bob")

    def texts(answer: Any) -> list[str]:
        return [each["text"] for each in answer.raise_for_status().json()["data"]]

    path = "/v1/preferences"
    assert texts(client.put(path, json={"preference": "formal +, concise"})) == [
        "Please use a formal tone.",
        "Keep it short.",
    ]
    more = {"text": "Use examples.", "when": ["cooking"], "strength": "strong"}
    assert texts(client.post(path, json={"preference": more}))[-1] == "Use examples."
    assert texts(client.post(f"{path}/forget", json={"text": "keep it SHORT."})) == [
        "Keep it short."
    ]
    assert texts(client.get(path)) == ["Please use a formal tone.", "Use examples."]
    assert guarded.ask(guarded.openai("sk-of-bob")) == styled_by(guarded, TRAITS["formal"].at(1)[1])
    changes = client.get(f"{path}/history", params={"limit": 2}).json()["data"]
    assert [change["action"] for change in changes] == ["forget", "add"]
    assert client.delete(path).status_code == 204
    assert client.get(path).json()["data"] == client.get(f"{path}/history").json()["data"] == []


def test_what_is_over_is_told_apart_from_what_can_be_sent_back(guarded: RunningServer) -> None:
    memory = guarded.service.llm.memory
    memory.set("zoe", {"text": "Use metric units.", "weight": 2.0})
    memory.add("zoe", "Keep it short.", expires=0.05)
    time.sleep(0.1)
    client = guarded.http(authorization="Bearer sk-of-webui")
    found = client.get("/v1/preferences", params={"user": "zoe"}).json()
    (lasting,), (over,) = found["data"], found["expired"]
    assert (lasting["text"], over["text"]) == ("Use metric units.", "Keep it short.")
    body = {"user": "zoe", "preference": found["data"]}
    again = client.put("/v1/preferences", json=body).raise_for_status().json()
    assert (again["data"], again["expired"]) == ([lasting], [])


def styled_by(server: RunningServer, strength: float) -> str:
    formal = {"text": "Please use a formal tone.", "strength": strength}
    return str(server.service.llm.invoke(QUESTION, preference=formal).text)


@pytest.mark.parametrize(
    "body, param",
    [
        ({}, "preference"),
        ({"preference": {"text": ""}}, "preference"),
        ({"preference": "a\x00b"}, "preference"),
        ({"preference": "x" * 3000}, "preference"),
        ({"preference": {"text": "a", "expires_at": "soon"}}, "preference"),
        ({"preference": {"text": "a", "expires_at": "2020-01-01T00:00:00Z"}}, "preference"),
        ({"preference": {"text": "a", "expires": "x"}}, "preference.expires"),
        ({"preference": "a", "strength": 1}, "strength"),
    ],
    ids=["nothing", "empty", "control", "long", "soon", "over", "misspelled", "unknown"],
)
def test_what_can_t_be_preferred_is_refused(
    guarded: RunningServer, body: dict[str, Any], param: str
) -> None:
    client = guarded.http(authorization="Bearer sk-of-ada")
    answer = client.put("/v1/preferences", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith(param)
    assert client.get("/v1/preferences").json()["data"][0]["text"] == "Keep it short."


def test_how_long_a_preference_lasts_is_told_by_the_field_that_says_it(
    guarded: RunningServer,
) -> None:
    client = guarded.http(authorization="Bearer sk-of-ada")
    body = {"preference": {"text": "a", "expires": 60}}
    error = client.put("/v1/preferences", json=body).json()["error"]
    assert "did you mean 'expires_at'?" in error["message"]


def test_a_call_may_put_its_preference_on_top_of_what_is_stored(guarded: RunningServer) -> None:
    client = guarded.openai("sk-of-ada")
    expected = guarded.service.llm.invoke(
        QUESTION,
        {"configurable": {"user_id": "ada"}},
        preference=Preference.trait("enthusiastic", 2),
        compose=True,
    ).text
    body = {"preference": "enthusiastic ++", "compose": True}
    assert guarded.ask(client, extra_body=body) == expected
    assert expected not in (styled(guarded, "Keep it short."), styled(guarded, None))
    assert guarded.ask(client, extra_body={"preference": None}) == styled(guarded, None)


def test_a_front_end_s_own_calls_aren_t_steered(guarded: RunningServer) -> None:
    plain, short = styled(guarded, None), styled(guarded, "Keep it short.")
    for task, answer in (("title_generation", plain), ("", short), ("{{TASK}}", short)):
        client = guarded.openai("sk-of-ada", X_OpenWebUI_Task=task)
        assert guarded.ask(client) == answer


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("GET", "/v1/preferences", None),
        ("PUT", "/v1/preferences", {"preference": "formal"}),
        ("POST", "/v1/preferences", {"preference": "formal"}),
        ("DELETE", "/v1/preferences", None),
        ("POST", "/v1/preferences/forget", {}),
        ("GET", "/v1/preferences/history", None),
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/pocket", None),
        ("GET", "/v1/steering", None),
        ("POST", "/v1/chat/completions", {"model": "pocket", "messages": CONVERSATION}),
    ],
)
def test_what_an_address_says_and_nobody_knows_is_refused(
    guarded: RunningServer, method: str, path: str, body: dict[str, Any] | None
) -> None:
    client = guarded.http(authorization="Bearer sk-of-ada")
    answer = client.request(method, path, json=body, params={"usr": "bob"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "unknown_parameter")
    assert error["param"] == "usr"
    kept = client.get("/v1/preferences").json()["data"]
    assert [each["text"] for each in kept] == ["Keep it short."]


def test_what_is_the_body_s_to_say_is_refused_in_an_address(guarded: RunningServer) -> None:
    client = guarded.http(authorization="Bearer sk-of-webui")
    for method, path, name in (
        ("PUT", "", "user"),
        ("POST", "", "user"),
        ("POST", "/forget", "text"),
    ):
        body = {"user": "ada"} if path else {"user": "ada", "preference": "formal"}
        answer = client.request(method, f"/v1/preferences{path}", json=body, params={name: "zz"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
    kept = client.get("/v1/preferences", params={"user": "ada"}).json()["data"]
    assert [each["text"] for each in kept] == ["Keep it short."]


def test_a_body_without_a_text_forgets_everything(guarded: RunningServer) -> None:
    client = guarded.http(authorization="Bearer sk-of-webui")
    client.put("/v1/preferences", json={"user": "zoe", "preference": "formal, concise"})
    forgotten = client.post("/v1/preferences/forget", json={"user": "zoe"}).json()["data"]
    assert len(forgotten) == 2
    assert client.get("/v1/preferences", params={"user": "zoe"}).json()["data"] == []


def test_what_was_set_by_a_name_is_forgotten_by_it(guarded: RunningServer) -> None:
    client = guarded.http(authorization="Bearer sk-of-webui")
    client.put("/v1/preferences", json={"user": "kim", "preference": "friendly, concise ++"})
    body = {"user": "kim", "text": "friendly"}
    forgotten = client.post("/v1/preferences/forget", json=body).json()["data"]
    assert [each["text"] for each in forgotten] == [
        each.text for each in Preference.preset("friendly")
    ]
    kept = client.get("/v1/preferences", params={"user": "kim"}).json()["data"]
    assert [each["text"] for each in kept] == ["Keep it short."]


def test_what_an_object_says_is_stored_and_forgotten_as_it_stands(guarded: RunningServer) -> None:
    client = guarded.http(authorization="Bearer sk-of-webui")
    details = {"text": "Notepad++, vim", "when": ["code"]}
    client.put("/v1/preferences", json={"user": "kim", "preference": details}).raise_for_status()
    body = {"user": "kim", "text": details["text"]}
    forgotten = client.post("/v1/preferences/forget", json=body).json()["data"]
    assert [each["text"] for each in forgotten] == [details["text"]]
    answer = client.post("/v1/preferences/forget", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_preference")


def test_what_an_address_may_say_must_be_as_it_must(guarded: RunningServer) -> None:
    client = guarded.http(authorization="Bearer sk-of-webui")
    for wrong in ({"user": ""}, {"user": "ada", "limit": "0"}, {"user": "ada", "limit": "x"}):
        answer = client.get("/v1/preferences/history", params=wrong)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "invalid_value")
        assert error["param"] == list(wrong)[-1]


def test_a_server_without_a_store_keeps_nothing_and_says_so() -> None:
    with running(read_settings(**STEADY)) as server:
        assert server.ask(server.openai(), user="ada")
        answer = server.http().put("/v1/preferences", json={"preference": "a", "user": "ada"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_store")


def test_preferences_are_kept_in_postgresql_too_and_it_may_go_and_come_back() -> None:
    memory = {"on_store_error": "ignore", "timeout": 3.0}
    with (
        Postgres() as database,
        running(read_settings(store=database.uri, memory=memory, **STEADY)) as server,
    ):
        client, http = server.openai(), server.http()
        http.put("/v1/preferences", json={"preference": "concise", "user": "ada"})
        short, plain = server.ask(client, user="ada"), server.ask(client)
        assert len(short) < len(plain)
        database.kill()
        with pytest.warns(match="goes without"):
            assert server.ask(client, user="ada") == plain
        failed = http.put("/v1/preferences", json={"preference": "formal", "user": "ada"})
        assert failed.status_code == 503
        assert failed.json()["error"]["code"] == "preference_store_unavailable"
        database.start()
        assert server.ask(client, user="ada") == short


def test_a_store_that_fails_fails_the_call_unless_it_is_to_be_ignored(tmp_path: Path) -> None:
    with running(read_settings(store=str(tmp_path / "p.db"), **STEADY)) as server:
        server.service.llm.memory.store.conn.close()
        with pytest.raises(openai.InternalServerError) as caught:
            server.ask(server.openai(), user="ada")
        assert caught.value.code == "preference_store_unavailable"
        assert server.ask(server.openai())
