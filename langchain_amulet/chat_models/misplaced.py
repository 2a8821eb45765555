"""Settings that a call goes without: where they stand or what stands beside them makes them so.

Those in ``configurable`` of a config, where only a preference and a user are looked for, can't be
refused, as it is for all that takes part in a run. A setting there that the model has anyway is
none of them: what `configurable_fields` opens is set by its name. Nor can a strength be refused
that nothing takes up: what a user prefers may be stored with strengths or without.

This module knows names of settings: nothing of what they mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from langchain_amulet.chat_models.settings import AnswerSettings
from langchain_amulet.errors import AmuletError, SettingWarning
from langchain_amulet.methods.spec import is_strength
from langchain_amulet.preferences.preference import Preference, have_strengths
from langchain_amulet.preferences.resolution import PREFERENCE, STANDING
from langchain_amulet.validation.packages import warn
from langchain_amulet.validation.wording import nearest, quoted

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


def warn_of_unused_strength(
    kwargs: Mapping[str, Any], found: Mapping[str, Sequence[Preference]]
) -> None:
    """Warn of a strength by itself as a call's method, where all preferences have their own.

    Args:
        kwargs: The call's keyword arguments.
        found: What it prefers, by the names of the arguments for it.
    """
    preferences = [*found.get(STANDING, ()), *found[PREFERENCE]]
    if "method" in kwargs and is_strength(kwargs["method"]) and have_strengths(preferences):
        warn(
            f"method={quoted(kwargs['method'])} is the strength of preferences without one, but "
            "all that this call prefers have their own, as traits and presets do, so it means "
            "nothing here: leave it out, choose another level, or give the preference in words.",
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
