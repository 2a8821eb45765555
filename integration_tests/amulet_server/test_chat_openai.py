"""LangChain's standard suite through its own client of OpenAI's API, against a running server.

Skipped are images, audio and PDF, which a text model doesn't read. JSON mode is left out: there the
schema stays with the client, and the bundled model has to be told of it.
"""

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from support.servers import RunningServer


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema:UserWarning")
class TestChatOpenAI(ChatModelIntegrationTests):
    left_out = frozenset({"test_json_mode"})
    url = ""

    @pytest.fixture(autouse=True)
    def _find(self, server: RunningServer) -> None:
        type(self).url = f"{server.url}/v1"

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "pocket",
            "base_url": self.url,
            "api_key": "none",
            "stream_usage": True,
            # The client's connections are those of all its process, and of the loop of one test.
            "default_headers": {"Connection": "close"},
            "max_retries": 0,
        }

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {"temperature": 0, "max_tokens": 160, "timeout": 60}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "pocket@concise"
