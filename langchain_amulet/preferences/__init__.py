"""What a user prefers, and where a call finds it.

Knows texts, strengths and LangChain's config. Doesn't know stores, prompts or models.
"""

from langchain_amulet.preferences.preference import Preference
from langchain_amulet.preferences.traits import PRESETS, TRAITS, Trait

__all__ = ["PRESETS", "TRAITS", "Preference", "Trait"]
