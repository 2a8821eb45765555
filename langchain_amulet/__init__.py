"""A local chat model that answers every user in that user's own style.

>>> from langchain_amulet import ChatAmulet
>>> llm = ChatAmulet(model="pocket")
>>> llm.invoke("How do I sleep better?", preference="Keep it short.")  # doctest: +SKIP
"""

from langchain_amulet import errors
from langchain_amulet.chat_models import ChatAmulet
from langchain_amulet.memory import PreferenceMemory
from langchain_amulet.methods import Amulet
from langchain_amulet.preferences import Preference

__all__ = ["Amulet", "ChatAmulet", "Preference", "PreferenceMemory", "errors"]
