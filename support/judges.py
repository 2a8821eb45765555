"""Chat models that judge answers by a rule."""

import re
from collections.abc import Callable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable

ANSWERS = re.compile(r"<(?:first|second)_answer>\n(.*?)\n</", re.DOTALL)


class Scripted(BaseChatModel):
    """A judge that decides by a rule, and answers as one that calls tools does."""

    rule: Callable[[str, str], str]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        first, second = ANSWERS.findall(messages[-1].text)
        verdict = {"reason": "Because.", "better": self.rule(first, second)}
        call = {"name": "Verdict", "args": verdict, "id": "1"}
        return ChatResult(generations=[ChatGeneration(message=AIMessage("", tool_calls=[call]))])

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, Any]:
        return self.bind()


def longer(first: str, second: str) -> str:
    if len(first) == len(second):
        return "neither"
    return "first" if len(first) > len(second) else "second"


fair = Scripted(rule=longer)


def make_fair() -> BaseChatModel:
    return fair
