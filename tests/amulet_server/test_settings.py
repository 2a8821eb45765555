"""What a server may be told, and where: options, then the environment, then the file."""

import copy
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from amulet_server import ServerSettings, read_settings
from amulet_server.config_reading import warn_of_misspelled
from langchain_amulet.errors import ConfigurationError, SettingWarning

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


EVERYTHING = """
port = 1
allowed_hosts = ["box.example"]
load = {device = "cpu"}
answers = {method = "strong"}
keys = [{name = "ada", key = "sk-of-ada", user = "ada"}]
signed_header = {secret = "0123456789012345678901234567890123456789"}
trusted_header = {header = "X-User", trusted_proxies = ["10.0.0.0/24", "::1"]}

[traits]
concise = "Keep it short."
formal = {more = "Be formal.", less_strengths = [0.7, 2.0]}

[styles]
poet = "Write like a poet."
brief = {traits = "concise ++, formal -", method = "pref"}
"""


def test_settings_are_values_which_other_processes_can_be_given(tmp_path: Path) -> None:
    file = written(tmp_path, EVERYTHING)
    settings = read_settings(file, host="localhost")
    assert type(settings) is ServerSettings
    assert settings == read_settings(file, host="localhost") != read_settings(file)
    assert settings == copy.deepcopy(settings) == pickle.loads(pickle.dumps(settings))


def test_a_config_file_is_read_once_so_that_it_may_be_a_pipe() -> None:
    reading, writing = os.pipe()
    with open(reading), open(writing, "w") as file:
        file.write("port = 1")
        file.close()
        assert read_settings(Path(f"/dev/fd/{reading}")).port == 1


def test_settings_that_a_program_makes_itself_are_what_it_says_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LANGCHAIN_AMULET_SERVE_PORT", "2")
    assert read_settings().port == 2
    assert ServerSettings().port == 8000


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
        (
            "[limits]\nmesages = 1",
            "unknown in limits: did you mean 'messages'.*one of body_bytes, messages",
        ),
        ('[styles.a]\nmehtod = "strong"', "in a style: did you mean 'method'.*traits, method"),
        ('[[keys]]\nnam = "a"', "in an API key: did you mean 'name'"),
        ('[[keys]]\nname = "a"\nkey = "secret-1"\nsha256 = "ab"', "either a key or its sha256"),
        ('[[keys]]\nname = "a"\nkey = "short"', "8 characters at least, but that of 'a' has 5"),
        ('[[keys]]\nname = "a"\nsha256 = "ab"', "64 digits from 0 to f"),
        ('[styles."a b"]\npreference = "p"', "begins with a letter"),
        ('name = "a b"', "without @ and spaces"),
        ('methods = "amulet"', "must be a list"),
        ('[[keys]]\nname = "a"', "either a key or its sha256"),
        ('[[keys]]\nname = "a"\nkey = "sk-secret-1"\nuser = "u"\nfor_others = true', "two keys"),
        ('[signed_header]\nsecret = "short"', "32 bytes"),
        ('[signed_header]\nalgorithm = "RS256"\nsecret = "s"', "public_key for RS256"),
        ('[trusted_header]\nheader = "X"\ntrusted_proxies = []', "trusted_proxies"),
        ('[styles.a]\npreference = "p"\ntraits = "formal"', "both or neither"),
        ('allowed_hosts = ["http://example.org"]', "without scheme, port and path"),
        ('allowed_hosts = ["example.org:8000"]', "without scheme, port and path"),
        ('allowed_hosts = ["127.0.0.1:8000"]', "without scheme, port and path"),
        ('allowed_hosts = ["a*b"]', "without scheme, port and path"),
        ('cors_origins = ["example.org"]', "as browsers send them"),
        ('cors_origins = ["https://example.org/"]', "without a path"),
        ('cors_origins = ["https://Example.org"]', "in small letters"),
    ],
)
def test_what_can_t_work_is_refused_when_a_server_starts(
    text: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        read_settings(written(tmp_path, text))
    assert "secret-1" not in str(caught.value)


@pytest.mark.parametrize("name", ["example.org", "*.example.org", "*", "10.0.0.1", "[::1]", "box"])
def test_a_name_by_which_browsers_may_call_is_one_as_they_send_it(name: str) -> None:
    assert read_settings(allowed_hosts=[name]).allowed_hosts == (name,)


@pytest.mark.parametrize(
    "origin", ["https://example.org", "http://localhost:3000", "http://[::1]:8080", "*", "null"]
)
def test_an_origin_is_one_as_browsers_send_it(origin: str) -> None:
    assert read_settings(cors_origins=[origin]).cors_origins == (origin,)


@pytest.mark.parametrize(
    "name, near",
    [
        ("SERVE_PROT", "SERVE_PORT"),
        ("SERVER_PORT", "SERVE_PORT"),
        ("SERVE__PORT", "SERVE_PORT"),
        ("SERVE_LIMITS_MESSAGES", "SERVE_LIMITS__MESSAGES"),
        ("SERVE_LIMIT__MESSAGES", "SERVE_LIMITS__MESSAGES"),
        ("SERVE_DEVICE", "SERVE_LOAD__DEVICE"),
        ("SERVE_MAX_TOKENS", "SERVE_ANSWERS__MAX_TOKENS"),
    ],
)
def test_a_variable_that_is_no_setting_is_told_by_the_nearest_one_and_without_its_value(
    name: str, near: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"LANGCHAIN_AMULET_{name}", "secret-1")
    rule = rf"LANGCHAIN_AMULET_{name} in .* did you mean LANGCHAIN_AMULET_{near}\?"
    with pytest.warns(SettingWarning, match=rule) as told:
        warn_of_misspelled()
    assert len(told) == 1
    assert "secret-1" not in str(told[0].message)


def test_variables_that_are_read_are_none_of_these(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are errors here."""
    for name in (
        "CONFIG",
        "PORT",
        "port",
        "LIMITS__MESSAGES",
        "LOAD__DEVICE",
        "TRAITS__RUDE__MORE",
    ):
        monkeypatch.setenv(f"LANGCHAIN_AMULET_SERVE_{name}", "1")
    monkeypatch.setenv("LANGCHAIN_AMULET_DEVICE", "cpu")
    warn_of_misspelled()


def test_a_local_model_is_called_by_the_name_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a model"
    folder.mkdir()
    assert read_settings(model=str(folder)).model_name == "a-model"
    assert read_settings(model=f"{folder}/").model_name == "a-model"
    assert read_settings(model="Qwen/Qwen2-7B").model_name == "Qwen/Qwen2-7B"
    assert read_settings(model=str(folder), name="mine").model_name == "mine"


def test_a_local_model_that_is_a_link_is_called_by_the_link_s_name(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "5f3e").touch()
    (tmp_path / "small.gguf").symlink_to(tmp_path / "blobs" / "5f3e")
    assert read_settings(model=str(tmp_path / "small.gguf")).model_name == "small.gguf"


@pytest.mark.parametrize(
    "model, name",
    [("/", "/"), ("no/such/folder/", "no/such/folder"), ("~nobody@home/x/", "~nobody-home/x")],
)
def test_a_model_without_a_folder_s_name_has_one_all_the_same(model: str, name: str) -> None:
    assert read_settings(model=model).model_name == name


def test_a_file_that_isn_t_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read: No such file") as caught:
        read_settings(tmp_path / "none.toml")
    assert "TOML" not in str(caught.value)


@pytest.mark.parametrize(
    "name, value, told",
    [
        ("PORT", "abc", "'port' can't be .* variable {} in the environment .* is 'abc'"),
        ("port", "1e9", "'port' can't be .* variable {} in the environment"),
        ("LIMITS__TOOLS", "few", "variable {} in the environment .* is 'few'"),
        ("LIMITS", '{"tools": "few"}', "variable {} in the environment .* is 'few'"),
        ("LOG_LEVEL", "secret-1", "variable {} in the environment that says so"),
    ],
)
def test_a_variable_that_can_t_be_is_named(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"LANGCHAIN_AMULET_SERVE_{name}", value)
    rule = told.format(f"LANGCHAIN_AMULET_SERVE_{name}")
    with pytest.raises(ConfigurationError, match=rule) as caught:
        read_settings()
    assert "secret-1" not in str(caught.value)


def test_an_option_that_can_t_be_isn_t_said_to_be_the_variable_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LANGCHAIN_AMULET_SERVE_PORT", "8000")
    with pytest.raises(ConfigurationError) as caught:
        read_settings(port=-1)
    assert "environment" not in str(caught.value)


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
        ({"host": ""}, False),
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
