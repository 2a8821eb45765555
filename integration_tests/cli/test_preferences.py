"""The command line remembers what its users prefer, from one run to the next."""

import json
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from langgraph.store.sqlite import SqliteStore

from langchain_amulet import PreferenceMemory
from langchain_amulet.cli.styles import styled
from support import terminal
from support.terminal import QUESTION, answer, chat

ROOT = Path(__file__).parents[2]
KIND, SHORT = "Be kind to them.", "Keep it short."


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command line is told to keep preferences, in a folder that isn't there yet."""
    path = tmp_path / "deep" / "preferences.db"
    monkeypatch.setenv("LANGCHAIN_AMULET_STORE", str(path))
    return path


def run(*arguments: str) -> Result:
    done = terminal.run(*arguments)
    assert done.exit_code == 0, done.output
    return done


def refused(*arguments: str) -> str:
    """The one line with which a command is refused."""
    done = terminal.run(*arguments)
    assert done.exit_code == 1, done.output
    assert done.stderr.count("\n") == 1
    return done.stderr


def listed(*arguments: str) -> list[str]:
    return run("preferences", "list", *arguments).output.splitlines()


# --- chat ---


def test_a_chat_remembers_until_the_next(tiny: str) -> None:
    ada, bob = ("--user", "ada"), ("--user", "bob")
    _, plain, told, _, kind = chat(
        tiny, QUESTION, f"/remember {KIND}", "/reset", QUESTION, options=ada
    )
    assert told.split("\n") == ["remembered for ada:", f"  {KIND}"]
    assert answer(tiny, preference=KIND) in kind != plain
    _, later = chat(tiny, QUESTION, options=ada)
    assert later == kind
    _, others = chat(tiny, QUESTION, options=bob)
    assert others == plain
    _, nobodys = chat(tiny, QUESTION)
    assert nobodys == plain


def test_a_style_of_now_comes_before_what_is_remembered(tiny: str) -> None:
    run("preferences", "set", KIND, "--user", "ada")
    _, short, _, _, kind = chat(
        tiny, QUESTION, "/reset", "/prefer", QUESTION, options=("--user", "ada", "-p", SHORT)
    )
    assert answer(tiny, preference=SHORT) in short
    assert answer(tiny, preference=KIND) in kind
    _, _, again = chat(tiny, f"/prefer {SHORT}", QUESTION, options=("--user", "ada"))
    assert again == short
    assert listed() == ["ada", f"  {KIND}"]


def test_who_has_something_remembered_is_told_if_a_style_of_now_comes_before_it(tiny: str) -> None:
    _, _, told, listed, _, later = chat(
        tiny, f"/prefer {SHORT}", f"/remember {KIND}", "/preferences", "/prefer",
        f"/remember {KIND}", options=("--user", "ada"),
    )  # fmt: skip
    *kept, holds = told.split("\n")
    assert kept == listed.split("\n") == later.split("\n")
    assert holds == "For now /prefer's style holds; /prefer off turns it off."


def test_a_chat_forgets_one_thing_or_all(tiny: str) -> None:
    run("preferences", "set", KIND, SHORT, "--user", "ada")
    _, known, missed, one, rest, none = chat(
        tiny, "/preferences", "/forget it.", f"/forget {KIND.upper()}", "/forget", QUESTION,
        options=("--user", "ada"),
    )  # fmt: skip
    assert known.split("\n") == ["remembered for ada:", f"  {KIND}", f"  {SHORT}"]
    assert missed.split("\n") == ["There was nothing to forget.", *known.split("\n")]
    assert one.split("\n") == ["remembered for ada:", f"  {SHORT}"]
    assert rest.split("\n") == ["remembered for ada:", "  nothing"]
    assert answer(tiny) in none


def test_nothing_is_remembered_of_nobody(tiny: str, file: Path) -> None:
    for said in chat(tiny, f"/remember {KIND}", "/forget", "/preferences")[1:]:
        assert "start with --user" in said
    assert not file.exists()


def test_what_cannot_be_remembered_is_one_line_and_the_chat_goes_on(tiny: str) -> None:
    lines = ["/remember", f"/remember {'x' * 2001}", QUESTION]
    _, empty, long, shown = chat(tiny, *lines, options=("--user", "ada"))
    assert "can't be empty" in empty
    assert "at most 2000 characters" in long
    assert answer(tiny) in shown
    assert listed() == []


# --- preferences ---


def test_preferences_are_set_listed_and_forgotten() -> None:
    run("preferences", "set", KIND, "--user", "ada")
    run("preferences", "set", SHORT, "Be formal.", "--user", "bob", "--strength", "subtle")
    bobs = [f"  {SHORT}  (strength subtle)", "  Be formal.  (strength subtle)"]
    assert listed() == ["ada", f"  {KIND}", "bob", *bobs]
    assert listed("--limit", "1") == ["ada", f"  {KIND}"]
    assert listed("--user", "bob") == ["bob", *bobs]
    assert listed("--user", "zoe") == ["zoe", "  nothing"]
    gone = run("preferences", "forget", SHORT, "--user", "bob").output
    assert gone == f"forgotten: {SHORT}  (strength subtle)\n"
    assert listed("--user", "bob") == ["bob", bobs[1]]
    run("preferences", "forget", "--user", "bob")
    assert listed() == ["ada", f"  {KIND}"]
    assert "nothing to forget" in run("preferences", "forget", "--user", "bob").output


def test_what_is_over_is_shown_as_such(file: Path) -> None:
    run("preferences", "set", KIND, "--user", "ada")  # makes the file
    yesterday = datetime.now(UTC) - timedelta(days=1)
    over = {"text": KIND, "expires_at": yesterday.isoformat()}
    with SqliteStore.from_conn_string(str(file)) as store:
        store.put(("preferences",), "ada", {"preferences": [over]})
    (shown,) = listed("--user", "ada")[1:]
    assert shown == f"  {KIND}  (over since {yesterday:%Y-%m-%d %H:%M} UTC)"


def test_the_file_is_a_langgraph_store_that_only_its_owner_reads(file: Path) -> None:
    run("preferences", "set", KIND, "--user", "ada")
    with SqliteStore.from_conn_string(str(file)) as store:
        assert [each.text for each in PreferenceMemory(store).get("ada")] == [KIND]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_option_names_another_file(tmp_path: Path, file: Path) -> None:
    other = tmp_path / "other.db"
    run("preferences", "set", KIND, "--user", "ada", "--store", str(other))
    assert other.exists() and not file.exists()
    assert listed("--store", str(other)) == ["ada", f"  {KIND}"]


@pytest.mark.parametrize("name", [":memory:", ":shared:"])
def test_what_would_be_forgotten_at_once_is_refused(name: str) -> None:
    for command in (("preferences", "list"), ("chat", "--user", "ada")):
        assert f"{name!r} is SQLite's name for what is forgotten" in refused(
            *command, "--store", name
        )


# --- Stores of one's own ---


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The example of a store of one's own, named as on the command line; it writes in a folder."""
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "extending"))
    monkeypatch.chdir(tmp_path)
    return "own_preference_store:store"


def test_a_store_of_ones_own_is_named_by_its_module(example: str, tiny: str, file: Path) -> None:
    own = ("--store", example)
    run("preferences", "set", KIND, SHORT, "--user", "ada", *own)
    assert json.loads(Path("preferences.json").read_text()) == {
        "ada": [{"text": KIND}, {"text": SHORT}]
    }
    run("preferences", "forget", SHORT, "--user", "ada", *own)
    assert listed(*own) == listed("--user", "ada", *own) == ["ada", f"  {KIND}"]
    _, kind, told = chat(tiny, QUESTION, f"/remember {SHORT}", options=("--user", "ada", *own))
    assert answer(tiny, preference=KIND) in kind
    assert told.split("\n") == ["remembered for ada:", f"  {KIND}", f"  {SHORT}"]
    assert not file.exists()


def test_so_it_is_in_the_environment(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGCHAIN_AMULET_STORE", example)
    run("preferences", "set", KIND, "--user", "ada")
    assert listed() == ["ada", f"  {KIND}"]


STORES = """
from contextlib import contextmanager
from langgraph.store.memory import InMemoryStore
from langchain_amulet import Preference, PreferenceMemory
from langchain_amulet.memory import SimplePreferenceStore

langgraph = InMemoryStore()
memory = PreferenceMemory(langgraph)
closed = []

class Dict(SimplePreferenceStore):
    kept = {}
    def load(self, user_id):
        return self.kept.get(user_id)
    def save(self, user_id, preferences):
        self.kept[user_id] = preferences

@contextmanager
def opened():
    yield memory
    closed.append(True)

class Demanding(Dict):
    def __init__(self, path):
        self.path = path

def failing():
    raise OSError("disk on fire")

@contextmanager
def jammed():
    yield 1 / 0

nothing = 7
"""


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of stores, in the folder where the command line is run."""
    (tmp_path / "ones_own_stores.py").write_text(STORES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "ones_own_stores"
    sys.modules.pop("ones_own_stores", None)


@pytest.mark.parametrize("name", ["langgraph", "memory", "Dict", "opened"])
def test_a_name_is_that_of_a_store_or_of_what_gives_one(stores: str, name: str) -> None:
    own = ("--store", f"{stores}:{name}")
    run("preferences", "set", KIND, "--user", "ada", *own)
    assert listed("--user", "ada", *own) == ["ada", f"  {KIND}"]
    assert sys.modules[stores].closed == ([True] * 2 if name == "opened" else [])


def test_a_store_that_can_not_list_its_users_is_asked_for_one(stores: str) -> None:
    said = refused("preferences", "list", "--store", f"{stores}:Dict")
    assert "Dict has no list(limit): name one of them by --user" in said


def test_a_name_of_no_store_is_one_line_and_a_failure(stores: str) -> None:
    for name, rule in (
        (f"{stores}:nothing", "type int, which lacks aadd"),
        (f"{stores}:nobody", "must be importable from the folder one works in"),
        ("no_such_module:store", "must be importable from the folder one works in"),
    ):
        assert rule in refused("preferences", "list", "--user", "ada", "--store", name)


def test_what_can_not_give_a_store_without_arguments_is_one_line_and_a_failure(
    stores: str, tmp_path: Path
) -> None:
    (tmp_path / "broken_stores.py").write_text("1 / 0")
    for name, rule in (
        ("json:dumps", "called without arguments, but raised TypeError: dumps() missing 1"),
        (f"{stores}:Demanding", "missing 1 required positional argument: 'path'. Name a function"),
        (f"{stores}:failing", "but raised OSError: disk on fire"),
        (f"{stores}:jammed", "but raised ZeroDivisionError"),
        ("broken_stores:store", "its module raised ZeroDivisionError: division by zero. Mend"),
    ):
        said = refused("preferences", "list", "--user", "ada", "--store", name)
        assert f"'{name}' must" in said and rule in said


def test_a_file_may_be_named_like_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("preferences", "set", KIND, "--user", "ada")
    Path("my:preferences").touch()
    assert listed("--store", "my:preferences") == []


def test_what_is_stored_is_never_read_as_markup() -> None:
    run("preferences", "set", "Be [/kind] :smile:", "--user", "[red]ada")
    assert listed() == ["[red]ada", "  Be [/kind] :smile:"]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["preferences", "set", " ", "--user", "ada"], "can't be empty"),
        (["preferences", "set", KIND, "--user", " "], "user's id must have something to read"),
        (["preferences", "set", KIND, "--user", "a", "--strength", "bold"], "must be one of"),
        (["preferences", "list", "--user", ""], "user's id must have something to read"),
        (["chat", "--user", "", "--model", "no/such-model"], "user's id must have something"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_and_a_failure(arguments: list[str], rule: str) -> None:
    assert rule in refused(*arguments)


def test_a_file_that_cannot_be_opened_is_one_line_and_a_failure(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("Dear diary, " * 100)
    for path in (tmp_path, text, text / "preferences.db"):
        said = refused("preferences", "list", "--store", str(path))
        assert f"{path} can't be" in said
        assert "--store" in said


def test_without_the_library_that_keeps_them_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "langgraph.store.sqlite", None)
    for command in (("preferences", "list"), ("chat", "--user", "ada")):
        assert "pip install 'langchain-amulet[sqlite]'" in refused(*command)


def test_traits_are_forgotten_as_they_were_remembered(tiny: str) -> None:
    kept = [styled(trait)[0] for trait in ("formal -", "warm")]
    *_, one, rest, none, missed = chat(
        tiny, "/remember concise ++, formal -", "/remember warm", "/remember Concise",
        "/remember " + KIND, "/forget concise", "/forget FORMAL -, warm +", "/forget " + KIND,
        "/forget concise", options=("--user", "ada"),
    )  # fmt: skip
    shown = [f"  {each.text}  (strength {each.strength})" for each in kept]
    assert one.split("\n") == ["remembered for ada:", *shown, f"  {KIND}"]
    assert rest.split("\n") == ["remembered for ada:", f"  {KIND}"]
    assert none.split("\n") == ["remembered for ada:", "  nothing"]
    assert missed.split("\n")[0] == "There was nothing to forget."


def test_the_other_command_forgets_traits_too_whatever_strength_they_were_given() -> None:
    run("preferences", "set", "concise ++", "formal", KIND, "--user", "ada", "--strength", "strong")
    # What a trait asks for at another level may be something else.
    assert "nothing to forget" in run("preferences", "forget", "formal -", "--user", "ada").output
    gone = run("preferences", "forget", "concise, formal +", "--user", "ada").output.splitlines()
    texts = [styled(trait)[0].text for trait in ("concise", "formal")]
    assert gone == [f"forgotten: {text}  (strength strong)" for text in texts]
    assert listed("--user", "ada") == ["ada", f"  {KIND}  (strength strong)"]


def test_words_that_look_like_traits_are_forgotten_as_words_and_else_pointed_out(
    file: Path,
) -> None:
    run("preferences", "set", KIND, "--user", "ada")  # makes the file
    with SqliteStore.from_conn_string(str(file)) as store:
        PreferenceMemory(store).set("ada", ["concise", {"text": "Notepad++"}])
    for text in ("Notepad++", "concise"):
        assert run("preferences", "forget", text, "--user", "ada").output == f"forgotten: {text}\n"
    for text in ("Notepad++", "concise +++"):
        said = refused("preferences", "forget", text, "--user", "ada")
        assert "Traits with + or - behind them must be" in said


def test_traits_are_stored_as_what_they_ask_for(tiny: str) -> None:
    run("preferences", "set", "--user", "ada", "concise ++")
    (concise,) = styled("concise ++")
    assert listed("--user", "ada") == ["ada", f"  {concise.text}  (strength {concise.strength})"]
    run("preferences", "set", "--user", "ada", "concise ++", "--strength", "strong")
    assert listed("--user", "ada") == ["ada", f"  {concise.text}  (strength strong)"]
    _, told = chat(tiny, "/remember formal -", options=("--user", "ada"))
    assert styled("formal -")[0].text in told
    assert "Traits with + or -" in refused("preferences", "set", "--user", "ada", "consise ++")
