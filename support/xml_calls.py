"""A chat format whose arguments are tags and no JSON, as Qwen3-Coder's are: one of the kinds that
the package doesn't know, written as anybody would write it."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_amulet.chat_formats import (
    ChatFormat,
    Function,
    FunctionCall,
    Marked,
    OutputParser,
    OutputPart,
    TemplateSample,
    broken_call,
)
from langchain_amulet.grammar import GrammarCompiler, json_rule

CALL = re.compile(r"\s*<function=(\w+)>\n(.*)</function>\s*", re.DOTALL)
ARGUMENT = re.compile(r"<parameter=(\w+)>\n(.*?)\n</parameter>\n", re.DOTALL)


@dataclass(frozen=True)
class XmlCalls(ChatFormat):
    """Each argument is a tag; texts stand in it as they are, all else as JSON."""

    name = "xml_calls"
    region = Marked("<tool_call>", "</tool_call>")

    def write_calls(self, calls: Sequence[FunctionCall]) -> str:
        return "\n".join(f"<tool_call>{_written(call)}</tool_call>" for call in calls)

    def call_grammar(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        opening, closing = compiler.spell("<tool_call>"), compiler.spell("</tool_call>")
        more = r'("\n" call)*' if several else ""
        choices = " | ".join(f"call_{index}" for index in range(len(functions)))
        rules = [f"calls: call {more}", f"call: {opening} ({choices}) {closing}"]
        for index, function in enumerate(functions):
            parts = [compiler.spell(f"<function={function['name']}>\n")]
            for name, schema in _properties(function).items():
                value = r"/[^<]{0,6}/" if _is_text(schema) else json_rule(schema)
                parts += [compiler.spell(f"<parameter={name}>\n"), value]
                parts.append(compiler.spell("\n</parameter>\n"))
            rules.append(f"call_{index}: {' '.join(parts)} {compiler.spell('</function>')}")
        return "\n".join(rules)

    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        return XmlCallParser(functions)

    @classmethod
    def learn(cls, sample: TemplateSample) -> "XmlCalls | None":
        return cls() if "<function=" in sample.one_call else None


class XmlCallParser:
    """Reads a call between its tags once it is whole."""

    def __init__(self, functions: Sequence[Function]) -> None:
        self._properties = {each["name"]: _properties(each) for each in functions}
        self._text = ""

    def feed(self, text: str) -> list[OutputPart]:
        self._text += text
        return []

    def finish(self) -> list[OutputPart]:
        found = CALL.fullmatch(self._text)
        if not found:
            return broken_call(f"<tool_call>{self._text}")
        properties = self._properties.get(found[1], {})
        arguments = {
            name: value if _is_text(properties.get(name, {})) else json.loads(value)
            for name, value in ARGUMENT.findall(found[2])
        }
        return [OutputPart("call", found[1]), OutputPart("arguments", json.dumps(arguments))]


def _written(call: FunctionCall) -> str:
    arguments = (
        f"<parameter={name}>\n{value if isinstance(value, str) else json.dumps(value)}"
        "\n</parameter>\n"
        for name, value in call.arguments.items()
    )
    return f"<function={call.name}>\n{''.join(arguments)}</function>"


def _properties(function: Function) -> dict[str, Any]:
    return dict(function.get("parameters", {}).get("properties", {}))


def _is_text(schema: Any) -> bool:
    return bool(schema.get("type") == "string")
