"""What users prefer, remembered between calls: see `PreferenceMemory`.

Knows stores, and preferences as data. Doesn't know prompts, decoding or chat models, but for those
that read what users say.
"""

from langchain_amulet.memory.coercion import as_memory, as_store
from langchain_amulet.memory.conditions import Matcher, Resembles, mentions
from langchain_amulet.memory.extractor import PreferenceExtractor
from langchain_amulet.memory.limits import Limits
from langchain_amulet.memory.preference_memory import PreferenceMemory
from langchain_amulet.memory.preference_store import PreferenceStore
from langchain_amulet.memory.profile import Change, Profile, StoredPreference
from langchain_amulet.memory.resolvers import ResolverMemory
from langchain_amulet.memory.simple_store import SimplePreferenceStore
from langchain_amulet.memory.tools import preference_tools
from langchain_amulet.preferences.resolution import PreferenceSource

__all__ = [
    "Change",
    "Limits",
    "Matcher",
    "PreferenceExtractor",
    "PreferenceMemory",
    "PreferenceSource",
    "PreferenceStore",
    "Profile",
    "Resembles",
    "ResolverMemory",
    "SimplePreferenceStore",
    "StoredPreference",
    "as_memory",
    "as_store",
    "mentions",
    "preference_tools",
]
