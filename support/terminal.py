"""The command line as a terminal 200 columns wide shows it."""

from click.testing import Result
from typer.testing import CliRunner

from langchain_amulet import ChatAmulet
from langchain_amulet.cli import app

QUESTION = "How do I sleep better?"


def run(*arguments: str, typed: str = "") -> Result:
    """What the command line did in a terminal 200 columns wide."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments, input=typed)


def chat(model: str, *lines: str, options: tuple[str, ...] = ()) -> list[str]:
    """What a chat showed before its first line and after each of them."""
    typed = "".join(f"{line}\n" for line in lines)
    chatted = run("chat", "--model", model, "--max-tokens", "12", *options, typed=typed)
    assert chatted.exit_code == 0, chatted.output
    greeting, *shown, bye = chatted.output.split("\n> ")
    assert bye.strip() == ""
    assert len(shown) == len(lines)
    return [greeting, *shown]


def answer(model: str, question: str = QUESTION, **style: object) -> str:
    llm = ChatAmulet(model=model, temperature=0.0, max_tokens=12, **style)
    return llm.invoke(question).text
