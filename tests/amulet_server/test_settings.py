"""What a server may be told, and where: options, then the environment, then the file."""

from pathlib import Path
from typing import Any

import pytest

from amulet_server import read_settings
from langchain_amulet.errors import ConfigurationError

KEY = {"name": "ada", "key": "sk-of-ada", "user": "ada"}


def written(folder: Path, text: str) -> Path:
    path = folder / "serve.toml"
    path.write_text(text)
    return path


def test_options_override_the_environment_and_that_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, 'port = 1\nmodel = "a"\nhost = "localhost"\n[limits]\nmessages = 5\n')
    monkeypatch.setenv("LANGCHAIN_AMULET_SERVE_PORT", "2")
    monkeypatch.setenv("LANGCHAIN_AMULET_SERVE_MODEL", "b")
    monkeypatch.setenv("LANGCHAIN_AMULET_SERVE_LIMITS__TOOLS", "7")
    settings = read_settings(file, port=3)
    assert (settings.port, settings.model, settings.host) == (3, "b", "localhost")
    assert (settings.limits.messages, settings.limits.tools) == (5, 7)


def test_a_list_comes_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGCHAIN_AMULET_SERVE_KEYS", '[{"name": "ada", "key": "sk-of-ada"}]')
    assert read_settings().keys[0].name == "ada"
    monkeypatch.setenv("LANGCHAIN_AMULET_SERVE_KEYS", "sk-of-ada")
    with pytest.raises(ConfigurationError, match="must be JSON"):
        read_settings()


@pytest.mark.parametrize(
    "text, told",
    [
        ("port = ", "must be TOML"),
        ("prot = 1", "'prot' is unknown: did you mean 'port'"),
        ("port = 70000", "at most 65535"),
        ("[limits]\nmesages = 1", "unknown"),
        ('[[keys]]\nname = "a"', "either a key or its sha256"),
        ('[[keys]]\nname = "a"\nkey = "sk-secret-1"\nuser = "u"\nfor_others = true', "two keys"),
        ('[signed_header]\nsecret = "short"', "32 bytes"),
        ('[signed_header]\nalgorithm = "RS256"\nsecret = "s"', "public_key for RS256"),
        ('[trusted_header]\nheader = "X"\ntrusted_proxies = []', "trusted_proxies"),
        ('[styles.a]\npreference = "p"\ntraits = "formal"', "both or neither"),
    ],
)
def test_what_can_t_work_is_refused_when_a_server_starts(
    text: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        read_settings(written(tmp_path, text))
    assert "secret-1" not in str(caught.value)


def test_a_file_that_isn_t_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read"):
        read_settings(tmp_path / "none.toml")


def test_keys_must_differ() -> None:
    with pytest.raises(ConfigurationError, match="must differ"):
        read_settings(keys=[KEY, {**KEY, "name": "bob"}])


@pytest.mark.parametrize(
    "settings, is_safe",
    [
        ({}, True),
        ({"host": "::1"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "192.0.2.1"}, False),
        ({"host": "0.0.0.0", "no_auth": True}, True),
        ({"host": "0.0.0.0", "keys": [KEY]}, True),
        ({"no_auth": True, "keys": [KEY]}, False),
    ],
)
def test_others_are_answered_only_if_they_show_who_they_are_or_it_is_said_in_so_many_words(
    settings: dict[str, Any], is_safe: bool
) -> None:
    if is_safe:
        read_settings(**settings)
        return
    with pytest.raises(ConfigurationError):
        read_settings(**settings)


def test_secrets_aren_t_shown() -> None:
    signed = {"secret": "0123456789" * 4}
    shown = repr(read_settings(keys=[KEY], signed_header=signed))
    assert "sk-of-ada" not in shown
    assert "0123456789" not in shown
