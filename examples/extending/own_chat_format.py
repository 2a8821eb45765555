"""A chat format of one's own: calls of tools are lines such as ``CALL add {"a": 1, "b": 2}``.

``python own_chat_format.py`` has a call made; docs/extending/chat-format.md says what each part is.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_amulet import ChatAmulet
from langchain_amulet import chat_formats as formats
from langchain_amulet.grammar import GrammarCompiler, json_rule


@formats.register
@dataclass(frozen=True)
class Lines(formats.ChatFormat):
    """Each call is a line."""

    name = "lines"
    region = formats.Marked("CALL ", "\n")

    def write_calls(self, calls: Sequence[formats.FunctionCall]) -> str:
        """The calls as lines."""
        return "".join(f"CALL {call.name} {json.dumps(call.arguments)}\n" for call in calls)

    def call_grammar(
        self, functions: Sequence[formats.Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        """The same as rules: a call is a name and what its JSON schema says."""
        calls = [
            f"{compiler.spell('CALL ' + function['name'] + ' ')} "
            + json_rule(formats.arguments_schema(function))
            for function in functions
        ]
        return f"calls: line{'+' if several else ''}\nline: ({' | '.join(calls)}) /\\n/"

    def call_parser(self, functions: Sequence[formats.Function]) -> formats.OutputParser:
        """What reads the rest of a line, a name and JSON, while it is written."""
        return formats.JsonCallParser("CALL ")

    @classmethod
    def learn(cls, sample: formats.TemplateSample) -> "Lines | None":
        """This format if a chat template writes calls in it."""
        return cls() if sample.one_call.startswith("CALL ") else None


def main(model: str = "pocket") -> None:
    """Have a model call a tool in this format, whatever its chat template writes."""
    say = {"name": "say", "parameters": {"properties": {"word": {"enum": ["yes", "no"]}}}}
    with ChatAmulet(model=model, temperature=0, chat_format=Lines()) as llm:
        answer = llm.bind_tools([say], tool_choice="say").invoke("Is Rome in Italy?")
    print([(call["name"], call["args"]) for call in answer.tool_calls])


if __name__ == "__main__":
    main()
