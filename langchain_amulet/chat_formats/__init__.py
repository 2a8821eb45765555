"""How a model family writes prompts, tool calls and thoughts, and how its answers are read.

Knows tokenizers and chat templates. Doesn't know LangChain, models or steering. Each family is one
file in ``families`` that holds all it decides; what is named here is enough to write another.
"""

from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.calls import Function, FunctionCall, arguments_schema
from langchain_amulet.chat_formats.families.delimited import Delimited
from langchain_amulet.chat_formats.families.hermes import Hermes
from langchain_amulet.chat_formats.families.llama import Llama
from langchain_amulet.chat_formats.families.mistral import Mistral
from langchain_amulet.chat_formats.json_call_parser import JsonCallParser
from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape
from langchain_amulet.chat_formats.output_parser import OutputParser, OutputPart, broken_call
from langchain_amulet.chat_formats.probe import TemplateSample
from langchain_amulet.chat_formats.python_calls import PythonCallFormat, PythonShape
from langchain_amulet.chat_formats.regions import Bare, CallRegion, Marked, Thinking
from langchain_amulet.chat_formats.registry import register
from langchain_amulet.chat_formats.tagged_calls import TaggedCallFormat, TaggedShape

__all__ = [
    "Bare",
    "CallRegion",
    "ChatFormat",
    "Delimited",
    "Function",
    "FunctionCall",
    "Hermes",
    "JsonCallFormat",
    "JsonCallParser",
    "JsonCallShape",
    "Llama",
    "Marked",
    "Mistral",
    "OutputParser",
    "OutputPart",
    "PythonCallFormat",
    "PythonShape",
    "TaggedCallFormat",
    "TaggedShape",
    "TemplateSample",
    "Thinking",
    "arguments_schema",
    "broken_call",
    "register",
]
