"""LangChain's face: `ChatAmulet`, its settings, and what becomes of one call.

Knows LangChain, prompts and the engine's requests. Doesn't know tensors, stores or the terminal.
"""

from langchain_amulet.chat_models.chat_amulet import ChatAmulet

__all__ = ["ChatAmulet"]
