"""`/v1/steering`: what a caller's calls may say, as programs that offer a choice read it."""

import httpx

from amulet_server import read_settings
from langchain_amulet.methods import STRENGTHS
from langchain_amulet.preferences import PRESETS
from support.servers import CONVERSATION, STEADY, RunningServer, running


def test_all_that_is_offered_can_be_asked_for(server: RunningServer) -> None:
    http = server.http()
    offer = http.get("/v1/steering").raise_for_status().json()
    methods = {each["name"]: each for each in offer["methods"]}
    assert methods.keys() == set(server.service.settings.methods)
    assert methods["linear_alignment"]["parameters"] == {
        "ratio": 2.0,
        "top_p": None,
        "kl_cap": None,
    }
    assert "arXiv" in methods["amulet"]["meaning"]
    asked = [
        f"{name}:{parameter}={0.5 if value is None else value}"
        for name, each in methods.items()
        for parameter, value in each["parameters"].items()
    ]
    body = {"model": offer["model"], "messages": CONVERSATION, "max_tokens": 1}
    assert offer["styles"] == list(PRESETS)
    for name in (*offer["traits"], *offer["styles"]):
        sent = {**body, "preference": name}
        http.post("/v1/chat/completions", json=sent).raise_for_status()
    for method in (*methods, *offer["strengths"], *asked):
        sent = {**body, "preference": "Be kind.", "method": method}
        http.post("/v1/chat/completions", json=sent).raise_for_status()


def test_it_says_in_whose_name_calls_are_made_and_what_steers_them_by_default() -> None:
    keys = [{"name": "ada", "key": "sk-of-ada", "user": "ada"}]
    settings = read_settings(keys=keys, **{**STEADY, "answers": {"method": "balanced"}})
    with running(settings) as server:
        assert httpx.get(f"{server.url}/v1/steering").status_code == 401
        offer = server.http(authorization="Bearer sk-of-ada").get("/v1/steering").json()
    assert (offer["user"], offer["names_users"], offer["keeps_preferences"]) == (
        "ada",
        False,
        False,
    )
    assert (offer["method"], offer["parameters"]["strength"]) == ("amulet", STRENGTHS["balanced"])
