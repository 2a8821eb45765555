"""Settings in ``configurable`` of a config, where only a preference and a user are looked for.

They can't be refused, as ``configurable`` is for all that takes part in a run. A setting there that
the model has anyway is none of them: what `configurable_fields` opens is set by its name.

This module knows names of settings: nothing of what they mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from langchain_amulet.chat_models.settings import AnswerSettings
from langchain_amulet.errors import AmuletError, SettingWarning
from langchain_amulet.preferences.resolution import PREFERENCE
from langchain_amulet.validation import nearest, warn

LEAST = 0.85
"""How like a setting's name a name must be to be taken for it."""


def warn_of_misplaced(
    configurable: Mapping[str, Any], kwargs: Collection[str], settings: AnswerSettings
) -> None:
    """Warn of settings in ``configurable`` that the call goes without.

    Args:
        configurable: What stands there.
        kwargs: The names of the call's keyword arguments, which say it better.
        settings: The model's own settings.
    """
    known = AnswerSettings.model_fields.keys() - {PREFERENCE} - set(kwargs)
    for name, value in configurable.items():
        setting = _meant(name, known)
        if setting is not None and _would_change(settings, setting, value):
            warn(
                f"A config's configurable may hold a preference and a user_id, but {name!r} in it "
                f"means nothing to the model: pass {setting}=... to the call or bind it, or open "
                f"it by configurable_fields({setting}=...).",
                SettingWarning,
            )


def _meant(name: object, known: Collection[str]) -> str | None:
    if not isinstance(name, str):
        return None
    close = nearest(name.casefold(), known, least=LEAST)
    return close if close is not None and close[:2] == name.casefold()[:2] else None


def _would_change(settings: AnswerSettings, name: str, value: object) -> bool:
    try:
        asked = settings.for_call(None, {name: value})
    except AmuletError:
        return True
    return bool(getattr(asked, name) != getattr(settings.for_call(None, {}), name))
