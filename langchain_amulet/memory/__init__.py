"""What users prefer, remembered between calls: see `PreferenceMemory`."""

from langchain_amulet.memory.conditions import Matcher, Resembles, mentions
from langchain_amulet.memory.extractor import PreferenceExtractor
from langchain_amulet.memory.preference_memory import PreferenceMemory
from langchain_amulet.memory.profile import Change, Profile, StoredPreference
from langchain_amulet.memory.resolvers import ResolverMemory, as_memory
from langchain_amulet.memory.tools import preference_tools

__all__ = [
    "Change",
    "Matcher",
    "PreferenceExtractor",
    "PreferenceMemory",
    "Profile",
    "Resembles",
    "ResolverMemory",
    "StoredPreference",
    "as_memory",
    "mentions",
    "preference_tools",
]
