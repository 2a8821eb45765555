"""LangChain's standard suites: on the bundled model, and on random weights.

Nothing is skipped but images, audio, video and PDF, which a text model doesn't read. Random weights
can't copy a number out of a question, nor see that a tool is wanted: what asks for that is left to
the bundled model. All else holds for them too.
"""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_amulet import ChatAmulet


class Everything:
    """What both suites are told of every model: it can do all that there is for text."""

    @pytest.fixture(autouse=True)
    def _listed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """LangChain's own list of what "all" may be read knows no package of others."""
        load, path = import_module("langchain_core.load.load"), tuple(ChatAmulet.lc_id())
        monkeypatch.setitem(load.ALL_SERIALIZABLE_MAPPINGS, path, path)
        monkeypatch.setattr(load, "_default_class_paths_cache", {})

    @pytest.fixture
    def vcr(self) -> SimpleNamespace:
        """What was recorded of the requests: as good as all, for a local model sends none."""
        return SimpleNamespace(responses=["none is needed"])

    @pytest.fixture(autouse=True)
    def _find(self, tiny: str, thinker: str) -> None:
        type(self).random, type(self).thinker = tiny, thinker

    @property
    def supported_usage_metadata_details(self) -> dict[Any, list[Any]]:
        return {"invoke": ["reasoning_output"], "stream": ["reasoning_output"]}

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        llm = ChatAmulet(model=self.thinker, temperature=0, max_tokens=20)
        if not stream:
            return llm.invoke("Go.")
        first, *others = llm.stream("Go.")
        return sum(others, first)

    @property
    def chat_model_class(self) -> type[ChatAmulet]:
        return ChatAmulet

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {"temperature": 0, "max_tokens": 160, "timeout": 60, "stop": [], "max_retries": 2}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        """There is no key to be found in the environment; there is what LangChain itself reads."""
        return {"LC_OUTPUT_VERSION": "v1"}, self.chat_model_params, {"output_version": "v1"}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def enable_vcr_tests(self) -> bool:
        return True


class Pocket(Everything):
    """The bundled model."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "pocket", "temperature": 0}


class Tiny(Everything):
    """Random weights."""

    @pytest.fixture(autouse=True)
    def _beside(self, tiny: str, other_tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where models are written down, their names must be the same in every run."""
        monkeypatch.chdir(Path(tiny).parent)

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "tiny"}

    @property
    def model_override_value(self) -> str:
        return "other-tiny"


class TestPocketUnit(Pocket, ChatModelUnitTests):
    pass


class TestTinyUnit(Tiny, ChatModelUnitTests):
    pass


class TestPocketIntegration(Pocket, ChatModelIntegrationTests):
    @property
    def model_override_value(self) -> str:
        return self.random


class TestTinyIntegration(Tiny, ChatModelIntegrationTests):
    left_out = frozenset(
        {
            "test_tool_calling",
            "test_tool_calling_async",
            "test_agent_loop",
            "test_unicode_tool_call_integration",
        }
    )
