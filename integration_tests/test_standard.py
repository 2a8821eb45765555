"""LangChain's standard suites: on the bundled model, and on random weights.

Random weights can't copy a number or a name out of a question; all else holds for them too.
"""

from typing import Any

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_amulet import ChatAmulet


class Tiny:
    """What both suites are told."""

    @pytest.fixture(autouse=True)
    def _find(self, tiny: str, other_tiny: str) -> None:
        type(self).folder, type(self).other_folder = tiny, other_tiny

    @property
    def chat_model_class(self) -> type[ChatAmulet]:
        return ChatAmulet

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": self.folder}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {"temperature": 0, "max_tokens": 160, "timeout": 60, "stop": [], "max_retries": 2}

    @property
    def model_override_value(self) -> str:
        return self.other_folder


class Pocket(Tiny):
    """The bundled model: it can do all that the suites ask of a text model."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "pocket", "temperature": 0}

    @property
    def supports_json_mode(self) -> bool:
        return True


class TestPocketUnit(Pocket, ChatModelUnitTests):
    pass


class TestPocketIntegration(Pocket, ChatModelIntegrationTests):
    pass


class TestTinyUnit(Tiny, ChatModelUnitTests):
    pass


class TestTinyIntegration(Tiny, ChatModelIntegrationTests):
    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def has_tool_calling(self) -> bool:
        return False
