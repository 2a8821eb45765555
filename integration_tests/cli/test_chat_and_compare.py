"""The command line on random weights: what it shows, and how it takes what people type."""

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Literal

import pytest
from rich.console import Capture, Console
from rich.text import Text

import langchain_amulet
from langchain_amulet import ChatAmulet
from langchain_amulet.cli.colours import Legend, coloured
from langchain_amulet.cli.conversation import Conversation
from langchain_amulet.cli.styles import in_words, styled
from langchain_amulet.engine import Engine
from langchain_amulet.methods import STRENGTHS
from langchain_amulet.version import VERSION
from support.engines import engine_of, wait_until_idle
from support.terminal import QUESTION, answer, chat, run


def test_help_is_there_without_loading_what_models_run_on() -> None:
    """In a process of its own, as this one has loaded everything."""
    asked = "import sys; from typer.testing import CliRunner; from langchain_amulet.cli import app"
    loaded = "print(*sys.modules.keys() & {'torch', 'transformers', 'langgraph'})"
    for command in ([], ["chat"], ["compare"], ["evaluate"], ["preferences"], ["report"]):
        asked += f"; assert 'Usage' in CliRunner().invoke(app, {[*command, '--help']}).output"
    done = subprocess.run([sys.executable, "-c", f"{asked}; {loaded}"], stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, b"\n")


def test_public_names_are_there_before_they_are_imported() -> None:
    assert set(langchain_amulet.__all__) <= set(dir(langchain_amulet))
    for name in langchain_amulet.__all__:
        assert getattr(langchain_amulet, name) is not None
    with pytest.raises(AttributeError, match="'langchain_amulet' has no attribute 'Amulett'"):
        _ = langchain_amulet.Amulett  # type: ignore[attr-defined]


def test_the_version_is_shown() -> None:
    shown = run("--version")
    assert (shown.exit_code, shown.output) == (0, f"langchain-amulet {VERSION}\n")


# --- compare ---


def test_compare_shows_three_answers_side_by_side_with_words_and_seconds(tiny: str) -> None:
    shown = run("compare", QUESTION, "-p", "Be kind.", "-p", "Be short.", "--model", tiny).output
    for text in (QUESTION, "Be kind.", "Be short."):
        assert text in shown
    assert len(re.findall(r"base +prompt only +Amulet", shown)) == 2
    assert len(re.findall(r"(?:\d+ words, \d+\.\d s\s*){3}", shown)) == 2


def test_compare_and_chat_say_where_an_answer_was_cut_off(tiny: str) -> None:
    options = ("--model", tiny, "--max-tokens", "5")
    shown = run("compare", QUESTION, "-p", "Be kind.", *options).output
    assert len(re.findall(r"cut off after 5 tokens", shown)) == 3
    assert "(cut off after 5 tokens)" in run("chat", *options, typed=f"{QUESTION}\n").output


def test_compare_shows_what_people_write_as_it_is(tiny: str) -> None:
    shown = run("compare", "[b]Why[/i]?", "-p", "Be [/kind].", "--model", tiny)
    assert shown.exit_code == 0
    assert "[b]Why[/i]?" in shown.output
    assert "Be [/kind]." in shown.output


def test_the_coloured_answer_is_the_answer_however_its_characters_are_spread(
    llm: ChatAmulet,
) -> None:
    for seed in range(5):
        drawn = {"temperature": 3.0, "seed": seed, "max_tokens": 60, "trace": True}
        message = llm.invoke(QUESTION, preference="Be kind.", **drawn)
        visible = message.text.translate(dict.fromkeys((7, 8, 11, 12, 13)))  # as rich has it
        assert coloured(message.response_metadata["trace"]).plain == visible


@pytest.mark.parametrize("colours", [None, "standard", "truecolor"])
@pytest.mark.parametrize("no_color", [False, True])
def test_the_colours_are_explained_where_there_are_any(
    colours: Literal["standard", "truecolor"] | None, no_color: bool
) -> None:
    console = Console(file=io.StringIO(), color_system=colours, no_color=no_color)
    with console.capture() as shown:
        console.print(Legend())
    is_coloured = colours is not None and not no_color
    assert ("by steering: x1.1 or more  x2 or more  x5 or more" in plain(shown)) == is_coloured
    assert bool(shown.get()) == is_coloured


def test_compare_takes_a_device_a_dtype_a_system_message_and_a_method(tiny: str) -> None:
    options = ("--device", "cpu", "--dtype", "float32", "--system", "Be a poet.")
    shown = run(
        "compare", QUESTION, "-p", "Be kind.", "--model", tiny, "--max-tokens", "12", *options,
        "--method", "linear_alignment",
    )  # fmt: skip
    assert re.search(r"base +prompt only +linear_alignment", shown.output)
    asked = [("system", "Be a poet."), ("human", QUESTION)]
    with ChatAmulet(model=tiny, dtype="float32", temperature=0.0, max_tokens=12) as llm:
        steered = llm.invoke(asked, preference="Be kind.", method="linear_alignment").text
        for text in (llm.invoke(asked).text, steered):
            assert text.split()[0] in shown.output


def plain(shown: Capture) -> str:
    """What is shown, without its colours."""
    return Text.from_ansi(shown.get()).plain


# --- what is refused ---


@pytest.mark.parametrize("command", [("compare", QUESTION, "-p", "Be kind."), ("chat",)])
def test_an_unknown_model_is_one_line_and_a_failure(tmp_path: Path, command: tuple[str]) -> None:
    refused = run(*command, "--model", str(tmp_path / "missing"))
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1
    assert "missing" in refused.stderr
    assert "Check the name" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["compare", QUESTION, "-p", "Be kind.", "--strength", "bold"], "must be one of"),
        (["compare", QUESTION, "-p", "Be kind.", "-p", " "], "can't be empty: say in words"),
        (["compare", QUESTION, "-p", "consise ++"], "Traits with + or - behind them must be"),
        (["chat", "--strength", "nan"], "must be a finite number or a name, not nan"),
        (["chat", "--prefer", "concise +, be kind"], "Traits with + or - behind them must be"),
        (["chat", "--method", "amulett"], "method must be one of"),
        (["chat", "--method", "pref", "--strength", "strong"], "give one of them"),
        (["compare", QUESTION, "-p", "Be kind.", "--dtype", "int4"], "dtype must be the name"),
        (["chat", "--device", "gpu"], "device must be"),
    ],
)
def test_a_wrong_style_is_refused_before_a_model_is_loaded(arguments: list[str], rule: str) -> None:
    refused = run(*arguments, "--model", "no/such-model")
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1
    assert rule in refused.stderr
    assert "no/such-model" not in refused.output


# --- chat ---


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model's tokens nearly tie, and what a chat keeps of prompts tips some of them."""
    monkeypatch.setenv("LANGCHAIN_AMULET_DTYPE", "float32")


@pytest.mark.usefixtures("in_float32")
def test_a_chat_answers_in_the_style_asked_for(tiny: str) -> None:
    _, plain, _, told, kind, _, off, again = chat(
        tiny, QUESTION, "/reset", "/prefer Be kind.", QUESTION, "/reset", "/prefer", QUESTION
    )
    assert (told.strip(), off.strip()) == ("preference: Be kind.", "no preference")
    assert answer(tiny) in plain == again
    assert answer(tiny, preference="Be kind.") in kind != plain
    _, begun = chat(tiny, QUESTION, options=("--prefer", "Be kind."))
    assert begun == kind


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("typed", ["concise ++", "Concise", "formal -, concise +"])
def test_traits_are_read_wherever_a_style_is_typed(tiny: str, typed: str) -> None:
    style = styled(typed)
    assert all(each.strength is not None for each in style)
    _, told, first = chat(tiny, f"/prefer {typed}", QUESTION)
    assert told.strip() == f"preference: {in_words(style)}"
    assert answer(tiny, preference=style) in first
    assert answer(tiny, preference=style) in chat(tiny, QUESTION, options=("-p", typed))[1]
    options = ("--model", tiny, "--max-tokens", "2")
    assert in_words(style)[:60] in run("compare", QUESTION, "-p", typed, *options).output


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("word", ["", " off", " Off", " none"])
def test_a_style_is_turned_off_by_the_word_or_by_none(tiny: str, word: str) -> None:
    _, off, plain = chat(tiny, f"/prefer{word}", QUESTION, options=("--prefer", "Be kind."))
    assert off.strip() == "no preference"
    assert answer(tiny) in plain


@pytest.mark.parametrize(
    "value", ["auto", "auto:nats=0.2", "pref", "amulet:kl_cap=0.5", "linear_alignment"]
)
def test_a_method_is_typed_as_a_strength_and_shown_as_typed(tiny: str, value: str) -> None:
    _, begun = chat(tiny, "/strength", options=("--strength", value))
    _, named = chat(tiny, "/strength", options=("--method", value))
    _, _, told, shown = chat(tiny, "/strength strong", f"/strength {value}", "/strength")
    assert begun == named == told == shown
    assert shown.strip() == f"strength: {value}"


def test_a_chat_returns_to_the_strength_that_it_began_with(tiny: str) -> None:
    _, first, _, back = chat(tiny, "/strength", "/strength strong", "/strength auto")
    assert first == back


def test_a_chat_steers_as_strongly_as_asked(tiny: str) -> None:
    style = ("--prefer", "Be kind.")
    for value in ("balanced", "2.5", "0", "-1"):
        _, told, steered = chat(tiny, f"/strength {value}", QUESTION, options=style)
        assert told.strip() == f"strength: {value}"
        method = value if value in STRENGTHS else float(value)
        assert answer(tiny, preference="Be kind.", method=method) in steered
        _, begun = chat(tiny, QUESTION, options=(*style, "--strength", value))
        assert begun == steered


def test_a_chat_steers_by_the_method_asked_for(tiny: str) -> None:
    style = ("--prefer", "Be kind.", "--method", "linear_alignment")
    _, shown, steered = chat(tiny, "/strength", QUESTION, options=style)
    assert shown.strip() == "strength: linear_alignment"
    assert answer(tiny, preference="Be kind.", method="linear_alignment") in steered


def test_a_chats_system_message_outlives_a_reset(tiny: str) -> None:
    system = ("--system", "Be a poet.", "--device", "cpu", "--dtype", "float32")
    _, first, _, second = chat(tiny, QUESTION, "/reset", QUESTION, options=system)
    asked = [("system", "Be a poet."), ("human", QUESTION)]
    with ChatAmulet(model=tiny, dtype="float32", temperature=0.0, max_tokens=12) as llm:
        assert llm.invoke(asked).text in first == second


def test_the_environment_sets_what_no_option_does(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGCHAIN_AMULET_MODEL", tiny)
    monkeypatch.setenv("LANGCHAIN_AMULET_METHOD", "balanced")
    monkeypatch.setenv("LANGCHAIN_AMULET_MAX_TOKENS", "12")
    typed = f"/strength\n{QUESTION}\n"
    chatted = run("chat", "--prefer", "Be kind.", typed=typed).output
    assert "strength: balanced" in chatted
    assert answer(tiny, preference="Be kind.", method="balanced") in chatted
    assert "strength: strong" in run("chat", "--strength", "strong", typed="/strength\n").output


def test_the_strength_of_now_is_shown_as_it_is_typed(tiny: str) -> None:
    for value in (*STRENGTHS, "2.5", "0", "-1"):
        _, begun = chat(tiny, "/strength", options=("--strength", value))
        _, told, shown = chat(tiny, f"/strength {value}", "/strength")
        assert begun == told == shown
        assert shown.strip() == f"strength: {value}"


@pytest.mark.parametrize("value", ["bold", "nan", "inf", "1e300", "[/b]", "1 2"])
def test_a_wrong_strength_is_one_line_and_the_chat_goes_on(tiny: str, value: str) -> None:
    style = ("--prefer", "Be kind.")
    _, refused, steered = chat(tiny, f"/strength {value}", QUESTION, options=style)
    assert len(refused.strip().splitlines()) == 1
    assert "trength" in refused
    assert answer(tiny, preference="Be kind.") in steered  # as strongly as before


def test_a_preference_over_its_limit_is_one_line_and_the_one_before_stays(tiny: str) -> None:
    _, _, refused, steered = chat(tiny, "/prefer Be kind.", f"/prefer {'x' * 2001}", QUESTION)
    assert "at most 2000 characters" in refused
    assert len(refused.strip().splitlines()) == 1
    assert answer(tiny, preference="Be kind.") in steered


def test_a_chat_remembers_until_it_is_reset(tiny: str) -> None:
    _, first, second, _, third = chat(tiny, QUESTION, QUESTION, "/reset", QUESTION)
    assert second != first == third


def test_why_explains_the_last_answer(tiny: str) -> None:
    _, early, _, why, _, late = chat(
        tiny, "/why", QUESTION, "/why", "/reset", "/why", options=("--prefer", "Be kind.")
    )
    assert "no answer yet" in early
    assert "by steering" not in why  # without colours
    for heading in ("token", "base", "prompted", "steered", "steered / prompted"):
        assert heading in why
    assert "nats" not in why
    assert len(re.findall(r" x\d\S*", why)) == 12
    assert "no answer yet" in late


def test_why_tells_of_as_many_tokens_as_are_asked_for_and_how_many_there_are(tiny: str) -> None:
    _, _, some, two, refused, huge, every = chat(
        tiny,
        QUESTION,
        "/why",
        "/why 2",
        "/why all",
        "/why " + "9" * 5000,
        "/why 999",
        options=("-p", "Be kind.", "--max-tokens", "20"),
    )
    (count,) = re.findall(r"12 of (\d+) tokens; /why \1 shows them all", some)
    assert len(re.findall(r" x\d\S*", two)) == 2
    assert f"2 of {count} tokens" in two
    assert "a number of tokens, at least 1, not 'all'" in refused
    assert "a number of tokens, at least 1, not this text of 5000" in huge
    assert len(re.findall(r" x\d\S*", every)) == int(count)
    assert "shows them all" not in every


def test_what_is_typed_is_never_read_as_markup(tiny: str) -> None:
    _, asked, preferred, unknown, *_ = chat(
        tiny, "[/b] [red]why?", "/prefer Be [/kind] :smile:", "/no[/x]", "/why"
    )
    assert answer(tiny, "[/b] [red]why?") in asked
    assert preferred.strip() == "preference: Be [/kind] :smile:"
    assert unknown.strip() == "There is no command /no[/x]; /help lists them."


def test_help_lists_every_command(tiny: str) -> None:
    _, shown = chat(tiny, "/help")
    for command in ("/prefer", "/strength", "/why", "/reset", "/exit", "/quit"):
        assert command in shown


def test_a_chat_ends_at_exit_at_quit_and_at_the_end_of_input(tiny: str) -> None:
    for typed in ("", "\n\n  \n", f"/exit\n{QUESTION}\n", f"/quit\n{QUESTION}\n"):
        ended = run("chat", "--model", tiny, typed=typed)
        assert ended.exit_code == 0
        assert "ask something" in ended.output
        assert answer(tiny) not in ended.output


def test_a_question_that_does_not_fit_is_one_line_and_the_chat_goes_on(tiny: str) -> None:
    _, refused, shown = chat(tiny, QUESTION * 300, QUESTION)
    assert "context of 1024" in refused
    assert "/reset" not in refused  # which wouldn't help
    assert len(refused.strip().splitlines()) == 1
    assert answer(tiny) in shown


def test_a_conversation_that_does_not_fit_any_more_is_told_how_to_begin_anew(tiny: str) -> None:
    long = QUESTION * 30
    _, first, *_, refused, _, again = chat(tiny, *[long] * 9, "/reset", long)
    assert "context of 1024" in refused
    assert refused.strip().endswith("/reset begins anew.")
    assert len(refused.strip().splitlines()) == 1
    assert answer(tiny, long) in first == again


@pytest.mark.usefixtures("heard")
def test_ctrl_c_stops_the_answer_and_not_the_chat(tiny: str) -> None:
    with ChatAmulet(model=tiny) as holder:  # keeps the weights, so that the engine is known
        engine = engine_of(holder)
        before = engine.stats().admitted
        interrupting = threading.Thread(target=press_ctrl_c, args=(engine, before + 2))
        interrupting.start()
        options = ("--max-tokens", "900", "--temperature", "1")  # 638 tokens by themselves
        _, stopped, why = chat(tiny, QUESTION, "/why", options=options)
        interrupting.join()
        assert stopped.endswith("(stopped)")
        assert "no answer yet" in why
        asyncio.run(wait_until_idle(holder))
        assert engine.stats().cancelled == 1


def press_ctrl_c(engine: Engine, admitted: int) -> None:
    """Interrupt this process once the engine decodes its so-many-th request."""
    while engine.stats().admitted < admitted:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)


def test_a_long_chat_keeps_the_trace_of_its_last_answer_only(llm: ChatAmulet) -> None:
    conversation = Conversation(llm, Console(quiet=True))
    for _ in range(3):
        conversation._reply(QUESTION)
    assert len(conversation._messages) == 6
    assert not any(message.response_metadata for message in conversation._messages)
    assert len(conversation._trace) == 12
