"""What a request says of preferences, in all the ways that clients have, as arguments of a call.

The first of these that says anything counts: the fields ``preference`` and ``negative_prompt``,
``metadata.preference``, the style in the model's name; then what is stored for the user. So does
the first of ``method``, ``guidance_scale``, ``metadata.method``, the method of a style that the
preference names and that of the model's.

Knows requests and names. Doesn't know users or stores.
"""

from __future__ import annotations

from typing import Any

from amulet_server.protocol.chat_request import ChatRequest, PreferenceInput, PreferenceValue
from amulet_server.protocol.errors import ApiError, about
from amulet_server.styles import (
    NamedStyle,
    StyleRegistry,
    check_strength_is_used,
    negated,
    together,
)
from langchain_amulet.preferences import Preference
from langchain_amulet.validation.wording import choose, nearest, quoted

SCALE = 1.5
"""The guidance scale of a negative prompt without one."""

MEANT = ("preference", "method", "user_id")
"""Names in ``metadata`` that mean something."""


def steering_arguments(request: ChatRequest, registry: StyleRegistry) -> dict[str, Any]:
    """Preference, method and the like of a call.

    Raises:
        ApiError: There is no such model, a name in ``metadata`` is nearly one that counts, there
            is no such method, calls may not ask for it, or a strength would be no preference's.
        PreferenceError: Something isn't a preference.
    """
    try:
        style = registry.style_of(request.model)
    except KeyError:
        raise unknown_model(request.model, registry) from None
    _check_metadata(request)
    said = _said(request, registry)
    preference = _preference(request, style if said is None else said)
    composed = {"compose": True} if request.compose else {}
    arguments = {**preference, **composed}
    asked = _asked(request)
    if asked is None:
        method = together(each for each in (said, style) if each is not None).method
        return arguments if method is None else {**arguments, "method": method}
    field, value = asked
    # On top of what is stored, a strength is for that, too; and a scale is the negative prompt's.
    is_used = "compose" in arguments or (field == "guidance_scale" and request.negative_prompt)
    with about(field):
        if not is_used:
            check_strength_is_used(value, preference.get("preference", ()), f"this call's {field}")
        return {**arguments, "method": registry.method(value)}


def unknown_model(name: str, registry: StyleRegistry) -> ApiError:
    """What to say of a model that there isn't."""
    return ApiError(
        404,
        f"A model must be one that there is here, not {quoted(name)}: "
        f"{choose(name, registry.models)} one of "
        f"{', '.join(registry.models)}.",
        param="model",
        code="model_not_found",
    )


def _check_metadata(request: ChatRequest) -> None:
    """Refuse names that are nearly right: the answer would go without, and nobody would know."""
    for name in request.metadata or {}:
        close = nearest(name.casefold(), MEANT, least=0.8)
        if close is not None and name not in MEANT:
            raise ApiError(
                400,
                f"metadata has a name that means nothing here and is nearly {close!r}: rename it.",
                param="metadata",
                code="unknown_parameter",
            )


def _asked(request: ChatRequest) -> tuple[str, str | float] | None:
    """The field by which a request says how preferences steer, and what; None if it doesn't."""
    if request.method is not None:
        return "method", request.method
    # Clients that know guidance send 1 where nobody asked for any.
    if request.guidance_scale not in (None, 1.0):
        return "guidance_scale", request.guidance_scale - 1.0
    named = (request.metadata or {}).get("method")
    return None if named is None else ("metadata", named)


def _preference(request: ChatRequest, wanted: NamedStyle | None) -> dict[str, Any]:
    preference = None if wanted is None else wanted.preference
    if not request.negative_prompt:
        return {} if preference is None else {"preference": preference}
    scale = SCALE if request.guidance_scale is None else request.guidance_scale
    with about("negative_prompt"):
        unwanted = negated(request.negative_prompt, scale)
    if preference is None:
        return {"preference": (unwanted,), "compose": True}  # on top of what the user likes
    return {"preference": (*preference, unwanted)}


def _said(request: ChatRequest, registry: StyleRegistry) -> NamedStyle | None:
    """What the request says that it prefers; None if it doesn't say."""
    if "preference" in request.model_fields_set:
        with about("preference"):
            return _given(request.preference, registry)
    named = (request.metadata or {}).get("preference")
    if named is not None:
        with about("metadata"):
            return registry.wanted(named)
    return None


def _given(value: PreferenceValue | None, registry: StyleRegistry) -> NamedStyle:
    if value is None:
        return NamedStyle(())
    if isinstance(value, str):
        return registry.wanted(value)
    if isinstance(value, PreferenceInput):
        return NamedStyle((Preference(**value.model_dump()),))
    return together(_given(each, registry) for each in value)
