"""Whatever is given to a public entry, it works or is refused by an error of the package, soon.

Each parameter of each public entry is given values that nobody should give it, the others being as
they should. What may be given is in `ENTRIES`; what isn't tried is in `ELSEWHERE`, with the reason.
"""

import asyncio
import inspect
import sys
import time
import warnings
from collections import OrderedDict, UserDict, UserString, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.store.memory import InMemoryStore
from pydantic import ValidationError

import amulet_evals
from langchain_amulet import ChatAmulet, Preference, PreferenceMemory, methods, steering
from langchain_amulet import chat_formats as formats
from langchain_amulet.chat_models.settings import CallSettings
from langchain_amulet.engine import (
    Engine,
    LoadOptions,
    Pause,
    Request,
    acquire,
    backends,
    load,
    release,
)
from langchain_amulet.engine import declared_context as context_of
from langchain_amulet.errors import AmuletError, DeadlineError
from langchain_amulet.fitting.examples import Examples
from langchain_amulet.grammar import GrammarCompiler, json_rule
from langchain_amulet.memory import (
    Limits,
    PreferenceExtractor,
    Resembles,
    ResolverMemory,
    SimplePreferenceStore,
    StoredPreference,
    as_memory,
    as_store,
    mentions,
    preference_tools,
)
from langchain_amulet.middleware import ExtractionMiddleware, PreferenceMiddleware
from langchain_amulet.preferences import Trait
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.waiting.deadline import Deadline
from support.models import save_model

SOON = 20.0
"""Seconds that a call with an odd value may take on a busy machine."""


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    __hash__ = object.__hash__


class Undecided:
    def __bool__(self) -> bool:
        raise RuntimeError("asked whether it is true")

    def __len__(self) -> int:
        raise RuntimeError("counted")


class Unreadable:
    def __iter__(self) -> Iterator[object]:
        raise RuntimeError("read")


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("shown")


class Word(StrEnum):
    X = "x"


class Count(IntEnum):
    THREE = 3


def holding_itself() -> list[object]:
    whole: list[object] = []
    whole.append(whole)
    return whole


def named_by_itself() -> dict[str, object]:
    whole: dict[str, object] = {}
    whole["a"] = whole
    return whole


ODD: Mapping[str, Callable[[], object]] = {
    "None": lambda: None,
    "object": object,
    "bytes": lambda: b"x",
    "no text": lambda: "",
    "text": lambda: "x",
    "long text": lambda: "x" * 5000,
    "half a character": lambda: "\ud800",
    "control character": lambda: "\0",
    "negative": lambda: -1,
    "zero": lambda: 0,
    "one": lambda: 1,
    "huge": lambda: 2**80,
    "hugely negative": lambda: -(2**80),
    "of more digits than Python writes": lambda: 10**5000,
    "fraction": lambda: 1.5,
    "NaN": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "minus infinity": lambda: float("-inf"),
    "largest": lambda: 1e308,
    "True": lambda: True,
    "False": lambda: False,
    "empty list": list,
    "list of None": lambda: [None],
    "list of text": lambda: ["x"],
    "list of numbers": lambda: [1],
    "lists in lists": lambda: [[["x"]]],
    "list that holds itself": holding_itself,
    "empty dict": dict,
    "dict of numbers": lambda: {1: 2},
    "dict of text": lambda: {"a": 1},
    "dict that holds itself": named_by_itself,
    "pair": lambda: (1, 2),
    "set": lambda: {"x"},
    "range": lambda: range(3),
    "generator": lambda: (each for each in range(3)),
    "array": lambda: np.array([1.0, 2.0]),
    "array of nothing": lambda: np.array([]),
    "array of one": lambda: np.array(1.0),
    "float of NumPy": lambda: np.float32(0.5),
    "NaN of NumPy": lambda: np.float64("nan"),
    "int of NumPy": lambda: np.int64(3),
    "bool of NumPy": lambda: np.bool_(True),
    "text of NumPy": lambda: np.str_("x"),
    "date of NumPy": lambda: np.datetime64("NaT"),
    "masked": lambda: np.ma.masked,
    "matrix": lambda: np.zeros((0, 3)),
    "tensor": lambda: torch.tensor([1.0, 2.0]),
    "tensor of one": lambda: torch.tensor(1.0),
    "decimal": lambda: Decimal("NaN"),
    "complex": lambda: 1j,
    "date": lambda: datetime(2024, 2, 29, tzinfo=UTC),
    "negative duration": lambda: timedelta(-1),
    "path": lambda: Path("x"),
    "function": lambda: lambda *given, **named: None,
    "class": lambda: int,
    "module": lambda: sys,
    "error": lambda: ValueError("x"),
    "message": lambda: HumanMessage("hi"),
    "preference": lambda: Preference("x"),
    "method": methods.Amulet,
    "word of an enumeration": lambda: Word.X,
    "number of an enumeration": lambda: Count.THREE,
    "fraction of whole numbers": lambda: Fraction(1, 2),
    "ordered dict": lambda: OrderedDict(a=1),
    "dict that nobody changes": lambda: MappingProxyType({"a": 1}),
    "dict by another name": lambda: UserDict(a=1),
    "text by another name": lambda: UserString("x"),
    "queue": lambda: deque([1]),
    "keys": lambda: {"a": 1}.keys(),
    "dict of mixed keys": lambda: {1: 1, "a": 2, None: 3},
    "type of lists": lambda: list[int],
    "mock": MagicMock,
    "incomparable": Incomparable,
    "undecided": Undecided,
    "unreadable": Unreadable,
    "unspeakable": Unspeakable,
    "list of the odd": lambda: [Unspeakable(), Incomparable(), Undecided()],
    "dict of the odd": lambda: {"x": Incomparable(), "y": Undecided()},
}


@dataclass(frozen=True)
class Entry:
    """A public entry.

    Attributes:
        call: What is called.
        given: What it is given where it has no default; all that its other parameters need.
        parameters: Those that are given odd values, where its signature doesn't tell.
    """

    call: Callable[..., object]
    given: Mapping[str, Any]
    parameters: tuple[str, ...]

    def odd(self, name: str, value: object) -> object:
        """Call it with one odd value."""
        named = {**self.given, name: value}
        signature = inspect.signature(self.call).parameters
        placed = [p for p in signature.values() if p.kind is p.POSITIONAL_ONLY and p.name in named]
        return self.call(*(named.pop(each.name) for each in placed), **named)


def entry(call: Callable[..., object], *parameters: str, **given: Any) -> Entry:
    """An entry whose parameters are those of its signature unless they are named."""
    signature = inspect.signature(call).parameters.values()
    own = tuple(p.name for p in signature if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    return Entry(call, given, parameters or own)


class Kept(SimplePreferenceStore):
    """A store of one's own, in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Any] = {}

    def load(self, user_id: str) -> Any:
        return self.kept.get(user_id)

    def save(self, user_id: str, preferences: tuple[StoredPreference, ...]) -> None:
        self.kept[user_id] = preferences


TOOL = {"name": "look", "description": "Look.", "parameters": {"type": "object"}}
SCHEMA = {"title": "Found", "type": "object", "properties": {}}
PLAN = methods.Amulet().plan([methods.Guidance()])
REQUEST = Request(((1,),), steering.Plan.plain(), SamplingParams(), 1, frozenset())
FIELDS = ChatAmulet.model_fields.keys() - {"quantization_config"}
"""Of how a model is quantised, another library says what it may be."""

SETTINGS = (*CallSettings.model_fields, "model", "user_id", "stream", "unknown")
CONFIG = (
    "callbacks", "configurable", "max_concurrency", "metadata", "recursion_limit", "run_id",
    "run_name", "tags",
)  # fmt: skip
KEYWORDS = (
    "type", "properties", "required", "enum", "const", "pattern", "format", "minLength",
    "maxLength", "minimum", "maximum", "multipleOf", "items", "prefixItems", "minItems",
    "maxItems", "uniqueItems", "anyOf", "oneOf", "allOf", "not", "if", "additionalProperties",
    "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas", "dependencies",
    "$ref", "$defs", "definitions", "minProperties", "maxProperties", "contains",
)  # fmt: skip


class Always:
    """A memory that has the same for everybody, whatever that is."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def get(self, user_id: str, about: str | None = None) -> Any:
        return self.found

    async def aget(self, user_id: str, about: str | None = None) -> Any:
        return self.found


def remembering_always(llm: ChatAmulet, found: object) -> ChatAmulet:
    return ChatAmulet(model=llm.model, max_tokens=1, temperature=0, memory=Always(found))


def scoring(score: object) -> methods.BestOf:
    return methods.BestOf(2, scorer=lambda question, answer: score)


def calling(value: object) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "look", "args": {"at": value}, "id": "1"}])


def calling_of_old(value: object) -> AIMessage:
    call = {"name": "look", "arguments": value}
    return AIMessage("", additional_kwargs={"function_call": call})


def resulting(block: Mapping[str, Any]) -> ToolMessage:
    return ToolMessage([{"type": "image", **block}], tool_call_id="1")


def saying(block: Mapping[str, Any]) -> AIMessage:
    return AIMessage([{"type": "tool_use", **block}])


def of_calls(llm: ChatAmulet, memory: PreferenceMemory) -> dict[str, Entry]:
    """What is called on a chat model."""
    remembering = ChatAmulet(model=llm.model, max_tokens=1, temperature=0, memory=memory)

    async def streamed(**named: Any) -> list[Any]:
        return [chunk async for chunk in llm.astream(**named)]

    found = {
        "invoke": entry(lambda **named: llm.invoke(**named), *SETTINGS, "stop", input="hi"),
        "invoke config": entry(lambda config: llm.invoke("hi", config), "config"),
        "invoke input": entry(lambda input: llm.invoke(input), "input"),
        "stream": entry(lambda **named: list(llm.stream(**named)), "input", "config", input="hi"),
        "ainvoke": entry(lambda **named: asyncio.run(llm.ainvoke(**named)),
                         "input", "config", "tool_choice", input="hi"),
        "astream": entry(lambda **named: asyncio.run(streamed(**named)),
                         "input", "config", "timeout", input="hi"),
        "batch": entry(lambda **named: llm.batch(**named), "inputs", "config", inputs=["hi"]),
        "abatch": entry(lambda **named: asyncio.run(llm.abatch(**named)),
                        "inputs", "config", inputs=["hi"]),
        "batch_as_completed": entry(lambda **named: list(llm.batch_as_completed(**named)),
                                    "inputs", "config", inputs=["hi"]),
        "with_preference": entry(llm.with_preference),
        "with_config": entry(llm.with_config),
        "bind_tools": entry(llm.bind_tools, tools=[TOOL]),
        "bound tools": entry(lambda **named: llm.bind_tools([TOOL], **named).invoke("hi"),
                             "tool_choice", "strict", "parallel_tool_calls"),
        "tool": entry(lambda **named: llm.bind_tools([{**TOOL, **named}]).invoke("hi"),
                      "name", "description", "parameters", "strict"),
        "with_structured_output": entry(llm.with_structured_output, schema=SCHEMA),
        "get_token_ids": entry(llm.get_token_ids),
        "get_num_tokens_from_messages": entry(llm.get_num_tokens_from_messages,
                                              messages=[HumanMessage("hi")]),
        "score": entry(llm.score, input="hi", answer="x"),
        "fit": entry(llm.fit, "preferences", "examples", "deviation", preferences="Be kind.",
                     examples=Examples(liked=[("hi", "x")])),
        "configurable_fields": entry(lambda **named: llm.configurable_fields(**named),
                                     "temperature", "unknown"),
        "model_copy": entry(lambda **named: llm.model_copy(update=named), "temperature", "memory"),
        "ChatAmulet": entry(lambda **named: ChatAmulet(**named), *sorted(FIELDS)),
        "arguments": entry(lambda value: llm.invoke(["hi", calling(value)]), "value"),
        "old arguments": entry(lambda value: llm.invoke(["hi", calling_of_old(value)]), "value"),
        "result": entry(lambda **named: llm.invoke(["hi", calling({}), resulting(named)]),
                        "type", "text", "id", "name", "mime_type", "data", "base64", "unknown"),
        "block": entry(lambda **named: llm.invoke(["hi", saying(named)]),
                       "type", "text", "id", "name", "input", "refusal", "url", "unknown"),
        "memory's": entry(lambda value: remembering_always(llm, value).invoke("hi", user_id="a"),
                          "value"),
        "scored": entry(lambda value: llm.invoke("hi", method=scoring(value), temperature=1.0),
                        "value"),
    }  # fmt: skip
    for part in CONFIG:
        found[f"batch {part}"] = entry(
            lambda part=part, **named: llm.batch(["hi"], {part: named["value"]}), "value"
        )
    for place in ("configurable", "metadata"):
        found[f"invoke {place}"] = entry(
            lambda place=place, **named: remembering.invoke("hi", {place: named}),
            "preference",
            "user_id",
        )
    return found


def of_memories(llm: ChatAmulet, memory: PreferenceMemory) -> dict[str, Entry]:
    """What is called on memories of preferences."""
    own, resolved = Kept(), ResolverMemory(lambda user_id: "Be kind.")
    extractor, stored, limits = PreferenceExtractor(llm, memory), StoredPreference("x"), Limits()
    found = {
        "PreferenceMemory": entry(PreferenceMemory, store=InMemoryStore()),
        "history": entry(memory.history, user_id="ada"),
        "list": entry(memory.list),
        "erase": entry(memory.erase, user_id="bob"),
        "learn": entry(memory.learn, "user_id", "model", "liked", "chosen", "rejected",
                       user_id="ada", model=llm, liked=[("hi", "x")]),
        "ResolverMemory": entry(ResolverMemory, resolve=lambda user_id: "Be kind."),
        "resolved get": entry(resolved.get, user_id="ada"),
        "resolved": entry(lambda value: ResolverMemory(lambda user_id: value).get("a"), "value"),
        "Limits": entry(Limits),
        "checked": entry(limits.checked, preference="x", expires=None),
        "applying": entry(limits.applying, stored=(), about=None),
        "is_met": entry(limits.is_met, "stored", stored=stored, about="x"),
        "Resembles": entry(Resembles, embeddings=DeterministicFakeEmbedding(size=2)),
        "mentions": entry(mentions, topics=["x"], text="x"),
        "StoredPreference": entry(lambda text="x", **named: StoredPreference(text, **named),
                                  "text", "strength", "weight", "when", "expires_at"),
        "Preference": entry(lambda text="x", **named: Preference(text, **named),
                            "text", "strength", "weight"),
        "trait": entry(Preference.trait, name="formal"),
        "preset": entry(Preference.preset),
        "at level": entry(Trait("x").at),
        "as_memory": entry(as_memory),
        "as_store": entry(as_store),
        "preference_tools": entry(preference_tools),
        "PreferenceExtractor": entry(PreferenceExtractor, model=llm, memory=memory),
        "submit turn": entry(extractor.submit, user_id="a", messages=[HumanMessage("x")]),
        "flush": entry(extractor.flush),
        "PreferenceMiddleware": entry(PreferenceMiddleware),
        "ExtractionMiddleware": entry(ExtractionMiddleware),
    }  # fmt: skip
    for name, store in (("memory", memory), ("own", own)):
        found |= {
            f"{name} add": entry(store.add, user_id="bob", preference="x"),
            f"{name} set": entry(store.set, user_id="bob", preference="x"),
            f"{name} get": entry(store.get, user_id="ada"),
            f"{name} forget": entry(store.forget, user_id="bob"),
            f"{name} profile": entry(store.profile, user_id="ada"),
        }
    return found


def of_methods() -> dict[str, Entry]:
    """Methods and the maths below, but for tensors."""
    needed = {"reference": "x", "model": "x", "expert": "x", "utility": steering.amulet_utility,
              "n": 2, "rank": lambda candidates: [1.0] * len(candidates)}  # fmt: skip
    kinds = (
        methods.Amulet, methods.Auto, methods.BeamPlan, methods.BeamSearch, methods.BestOf,
        methods.Guidance,
        methods.ContextSteering, methods.DeRa, methods.Drift, methods.GuidedReranking,
        methods.Iterated, methods.LinearAlignment, methods.PAD, methods.ProxyTuning,
        methods.SearchPlan,
    )  # fmt: skip
    found = {}
    for kind in kinds:
        names = inspect.signature(kind).parameters
        given = {name: value for name, value in needed.items()
                 if name in names and names[name].default is inspect.Parameter.empty}  # fmt: skip
        found[kind.__name__] = entry(kind, **given)
    planned = (methods.Base(), methods.Pref(), methods.Amulet(), methods.Drift())
    return {
        **found,
        **{f"{each.name} plan": entry(each.plan, preferences=[]) for each in planned},
        "as_method": entry(methods.as_method, "value", value="amulet"),
        "prompted": entry(methods.prompted),
        "register method": entry(methods.register),
        "resolve_strength": entry(methods.resolve_strength),
        "SamplingParams": entry(SamplingParams),
        "Contrast": entry(steering.Contrast, weight=1.0, plus=0, minus=1),
        "Plan": entry(steering.Plan, streams=(steering.Stream(),), anchor=0,
                      reference=((0, 1.0),)),
        "Stream": entry(steering.Stream),
        "Plausibility": entry(steering.Plausibility),
        "Solver": entry(steering.Solver, base=0),
        "TopK": entry(steering.TopK),
        "TopP": entry(steering.TopP),
        "strength": entry(steering.strength),
        "strengths": entry(steering.strengths, plan=PLAN),
    }  # fmt: skip


def of_engines(llm: ChatAmulet) -> dict[str, Entry]:
    """The engine, grammars and chat formats."""
    opened = llm._handle.opened
    engine, tokenizer = opened.engine, opened.tokenizer

    def submitted(**named: Any) -> object:
        return list(engine.submit(replace(REQUEST, **named)))

    def ran(**named: Any) -> object:
        """Some values are steps without an end, so that their time must be limited."""
        limit = Deadline(time.monotonic() + 0.2, lambda: DeadlineError("It has no end."))
        return engine.run(**named, deadline=limit).result(SOON)

    def constrained(schema: Any) -> object:
        wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
        return llm.invoke("hi", response_format=wanted, max_tokens=60)

    return {
        "Engine": entry(lambda **named: Engine(**named).close(),
                        "model", "max_rows", "max_queue", "prefill_chunk", model=engine._model),
        "attach": entry(engine.attach, name="x", other=engine),
        "submit": entry(lambda request: list(engine.submit(request)), "request"),
        "score tokens": entry(lambda **named: engine.score(**named).result(SOON),
                              "prompts", "continuation", "models",
                              prompts=((1,),), continuation=(2,)),
        "run": entry(ran, "steps", "rows", steps=iter(()), rows=1),
        "Request": entry(submitted, *(field.name for field in fields(Request)
                                      if field.name not in ("constraint", "pauses"))),
        "LoadOptions": entry(
            LoadOptions, *sorted(FIELDS & inspect.signature(LoadOptions).parameters.keys())
        ),
        "Pause": entry(Pause, "openings", openings=frozenset({1}), closing=2),
        "load": entry(load, model_id=llm.model, options=LoadOptions()),
        "acquire": entry(acquire, model_id=llm.model),
        "release": entry(release, runtime=acquire("no/such-model"), holder=engine),
        "declared_context": entry(context_of, model_id=llm.model),
        "check_backend": entry(backends.check_backend),
        "import_backend": entry(backends.import_backend),
        "register backend": entry(lambda name: backends.register(name)(load), "name"),
        "register format": entry(formats.register),
        "arguments_schema": entry(formats.arguments_schema),
        "json_rule": entry(json_rule),
        "compile": entry(opened.grammars.compile, "lark", "max_tokens", "stops", "ends",
                         lark='start: "a"', max_tokens=4, stops=frozenset({1})),
        "check": entry(opened.grammars.check),
        "spell": entry(opened.grammars.spell),
        "GrammarCompiler": entry(lambda **named: GrammarCompiler(**named).spell("a"),
                                 "tokenizer", "vocabulary", tokenizer=tokenizer, vocabulary=400),
        "keyword": entry(lambda **named: constrained({"type": "object", **named}), *KEYWORDS),
        "keyword within": entry(
            lambda **named: constrained({"type": "object", "properties": {"a": named}}), *KEYWORDS
        ),
    }  # fmt: skip


def of_evaluations(folder: Path) -> dict[str, Entry]:
    """The neighbour that compares methods."""
    needed = {
        "Decoding": {},
        "Evaluation": {"questions": [{"source": "x"}]},
        "QuestionSource": {"source": "x"},
        "RewardSettings": {"model": "x"},
        "Scoring": {},
    }
    found = {}
    for name, given in needed.items():
        kind = getattr(amulet_evals, name)
        found[name] = entry(lambda kind=kind, **named: kind(**named), *kind.model_fields, **given)
    found["evaluate"] = entry(
        amulet_evals.evaluate, "evaluation", evaluation=None, folder=folder / "run"
    )
    return found | {"report": entry(amulet_evals.report)}


ELSEWHERE = {
    "it is given out and not taken": """
        AnyEngine BeamResult Candidate Change DraftCounts Drawn Finish ModelInfo Profile Stats
        Steered StepLogits Token TokenStream Trace Trait ModelRuntime OutputPart CacheUse
    """,
    "it computes with one token's tensors, in each step": """
        agreement amulet_utility combine draw floors iterate kept kl levelled mixture penalize steer
        PlanBatch SamplingBatch
    """,
    "it is to be made a class of one's own": """
        Backend BackendLoader BeamSearchBackend ChatFormat Constraint LoadedModel Mask Method
        OutputParser PreferenceSource PreferenceStore Ranking SimplePreferenceStore
    """,
    "it is part of a backend or chat format, for their authors": """
        PythonCallFormat PythonShape TaggedCallFormat TaggedShape
        Bare BeamParams CallRegion CandidateQuery Delimited Function FunctionCall Grammar Hermes
        HuggingFaceModel Beams Steps JsonCallFormat JsonCallParser JsonCallShape Llama Marked
        Resumption
        CacheScope Mistral Prompts Slot
        TemplateSample Thinking UncachedModel broken_call load_huggingface
        unique_key
    """,
    "it takes nothing": """
        Base Pref errors BACKENDS HUGGING_FACE PROCESS CODE METHODS PRESETS STRENGTHS TRAITS Matcher
        Utility
    """,
    "it only writes what as_method has checked": "spell",
}
"""Public names that aren't given odd values here, and why."""

MODULES = (
    "", ".chat_formats", ".engine", ".engine.backends", ".grammar", ".memory", ".methods",
    ".middleware", ".preferences", ".sampling", ".steering",
)  # fmt: skip


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Entry]]:
    folder = tmp_path_factory.mktemp("odd")
    memory = PreferenceMemory(InMemoryStore())
    memory.set("ada", "Keep it short.")
    with ChatAmulet(model=save_model(folder), max_tokens=1, temperature=0) as llm:
        yield {
            **of_calls(llm, memory),
            **of_memories(llm, memory),
            **of_methods(),
            **of_engines(llm),
            **of_evaluations(folder),
        }


def problems(each: Entry, count: int) -> Iterator[str]:
    """What becomes of odd values that isn't as it should be.

    Args:
        each: The entry.
        count: How many values are tried for each parameter.
    """
    kinds = list(ODD)
    for place, name in enumerate(each.parameters):
        for step in range(count):
            kind = kinds[(step * len(kinds) // count + place * 7) % len(kinds)]
            start = time.monotonic()
            try:
                each.odd(name, ODD[kind]())
            except (AmuletError, ValidationError) as error:
                assert str(error)
            except Exception as error:
                if "keywords must be strings" in str(error):
                    continue  # which Python says itself
                yield f"{name}={kind}: {type(error).__name__}"
            if time.monotonic() - start > SOON:
                yield f"{name}={kind}: too slow"


def tried(entries: Mapping[str, Entry], count: int) -> dict[str, list[str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {name: list(problems(each, count)) for name, each in entries.items()}
    return {name: wrong for name, wrong in found.items() if wrong}


def test_odd_values_work_or_are_refused_by_an_error_of_the_package(
    entries: dict[str, Entry],
) -> None:
    assert tried(entries, 5) == {}


@pytest.mark.exhaustive
def test_all_odd_values_work_or_are_refused_by_an_error_of_the_package(
    entries: dict[str, Entry],
) -> None:
    assert tried(entries, len(ODD)) == {}


def test_every_public_entry_is_tried_or_said_to_be_elsewhere(entries: dict[str, Entry]) -> None:
    known = {word for name in entries for word in name.split()}
    known |= {each.call.__name__ for each in entries.values()}
    known |= {word for words in ELSEWHERE.values() for word in words.split()}
    names = {
        name
        for module in MODULES
        for name in import_module(f"langchain_amulet{module}").__dict__
        if not name.startswith("_") and name in public(f"langchain_amulet{module}")
    }
    assert sorted(names - known) == []


def public(module: str) -> list[str]:
    """What a module lists, or else the classes and functions that are defined in it."""
    found = import_module(module)
    own = (
        name
        for name, value in vars(found).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module
    )
    return list(getattr(found, "__all__", own))
