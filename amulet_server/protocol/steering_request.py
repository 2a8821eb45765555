"""What a request says of preferences, in all the ways that clients have, as arguments of a call.

The first of these that says anything counts: the fields ``preference`` and ``negative_prompt``,
``metadata.preference``, the style in the model's name; then what is stored for the user. So does
the first of ``method``, ``guidance_scale``, ``metadata.method`` and the style's method.

Knows requests and names. Doesn't know users or stores.
"""

from __future__ import annotations

from typing import Any

from amulet_server.protocol.chat_request import ChatRequest, PreferenceInput, PreferenceValue
from amulet_server.protocol.errors import ApiError, about
from amulet_server.styles import NamedStyle, StyleRegistry, negated
from langchain_amulet.methods import Amulet
from langchain_amulet.preferences import Preference
from langchain_amulet.validation import nearest

SCALE = 1.5
"""The guidance scale of a negative prompt without one."""

MEANT = ("preference", "method", "user_id")
"""Names in ``metadata`` that mean something."""


def steering_arguments(request: ChatRequest, registry: StyleRegistry) -> dict[str, Any]:
    """Preference, method and the like of a call.

    Raises:
        ApiError: There is no such model, or a name in ``metadata`` is nearly one that counts.
        PreferenceError: Something isn't a preference.
        ConfigurationError: There is no such method, or calls may not ask for it.
    """
    try:
        style = registry.style_of(request.model)
    except KeyError:
        raise unknown_model(registry) from None
    _check_metadata(request)
    return {
        **_method(request, registry, style),
        **_preference(request, registry, style),
        **({"compose": True} if request.compose else {}),
    }


def unknown_model(registry: StyleRegistry) -> ApiError:
    """What to say of a model that there isn't."""
    return ApiError(
        404,
        f"There is no such model: use one of {', '.join(registry.models)}.",
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


def _method(
    request: ChatRequest, registry: StyleRegistry, style: NamedStyle | None
) -> dict[str, Any]:
    if request.method is not None:
        with about("method"):
            return {"method": registry.method(request.method)}
    # Clients that know guidance send 1 where nobody asked for any.
    if request.guidance_scale not in (None, 1.0):
        return {"method": Amulet(strength=request.guidance_scale - 1.0)}
    named = (request.metadata or {}).get("method")
    if named is not None:
        with about("metadata"):
            return {"method": registry.method(named)}
    return {} if style is None or style.method is None else {"method": style.method}


def _preference(
    request: ChatRequest, registry: StyleRegistry, style: NamedStyle | None
) -> dict[str, Any]:
    wanted = _wanted(request, registry, style)
    if not request.negative_prompt:
        return {} if wanted is None else {"preference": wanted}
    scale = SCALE if request.guidance_scale is None else request.guidance_scale
    with about("negative_prompt"):
        unwanted = negated(request.negative_prompt, scale)
    if wanted is None:
        return {"preference": (unwanted,), "compose": True}  # on top of what the user likes
    return {"preference": (*wanted, unwanted)}


def _wanted(
    request: ChatRequest, registry: StyleRegistry, style: NamedStyle | None
) -> tuple[Preference, ...] | None:
    """What is preferred; None if the request doesn't say."""
    if "preference" in request.model_fields_set:
        return _given(request.preference, registry)
    named = (request.metadata or {}).get("preference")
    if named is not None:
        with about("metadata"):
            return registry.preferences(named)
    return None if style is None else style.preference


def _given(value: PreferenceValue | None, registry: StyleRegistry) -> tuple[Preference, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return registry.preferences(value)
    if isinstance(value, PreferenceInput):
        return (Preference(**value.model_dump()),)
    return tuple(found for each in value for found in _given(each, registry))
