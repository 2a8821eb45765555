"""What a request says of preferences, in all the ways that clients have, as arguments of a call.

The first of these that says anything counts: the fields ``preference`` and ``negative_prompt``,
``metadata.preference``, the style in the model's name; then what is stored for the user. So does
the first of ``method``, ``guidance_scale``, ``metadata.method``, the method of a style that the
preference names and that of the model's.

Knows requests and names. Doesn't know users or stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amulet_server.protocol.chat_request import ChatRequest, PreferenceInput, PreferenceValue
from amulet_server.protocol.errors import ApiError, about
from amulet_server.styles import NamedStyle, StyleRegistry, negated, together
from langchain_amulet.methods import Amulet
from langchain_amulet.methods.spec import is_strength
from langchain_amulet.preferences import Preference
from langchain_amulet.preferences.preference import have_strengths
from langchain_amulet.validation import choose, nearest, quoted

SCALE = 1.5
"""The guidance scale of a negative prompt without one."""

MEANT = ("preference", "method", "user_id")
"""Names in ``metadata`` that mean something."""


def steering_arguments(request: ChatRequest, registry: StyleRegistry) -> dict[str, Any]:
    """Preference, method and the like of a call.

    Raises:
        ApiError: There is no such model, a name in ``metadata`` is nearly one that counts, or a
            strength would be that of no preference.
        PreferenceError: Something isn't a preference.
        ConfigurationError: There is no such method, or calls may not ask for it.
    """
    try:
        style = registry.style_of(request.model)
    except KeyError:
        raise unknown_model(request.model, registry) from None
    _check_metadata(request)
    said = _said(request, registry)
    method = _method(request, registry, [each for each in (said, style) if each is not None])
    preference = _preference(request, style if said is None else said)
    composed = {"compose": True} if request.compose else {}
    arguments = {**method, **preference, **composed}
    _check_strength_is_used(request, arguments)
    return arguments


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


def _method(
    request: ChatRequest, registry: StyleRegistry, styles: Sequence[NamedStyle]
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
    method = together(styles).method
    return {} if method is None else {"method": method}


def _check_strength_is_used(request: ChatRequest, arguments: Mapping[str, Any]) -> None:
    """Refuse a strength where all that is preferred has one of its own, which counts instead."""
    field = _strength_field(request)
    if field is None or "compose" in arguments:
        return
    if have_strengths(arguments.get("preference", ())):
        raise ApiError(
            400,
            f"A strength by {field} is that of preferences without one, but all that this call "
            "prefers have their own, as traits and presets do: leave it out, or say how much by "
            "signs, as in 'concise ++', or give the preference in words.",
            param=field,
            code="invalid_request",
        )


def _strength_field(request: ChatRequest) -> str | None:
    """The field that says nothing but a strength, of those that count; None if there is none."""
    if request.method is not None:
        return "method" if is_strength(request.method) else None
    if request.guidance_scale not in (None, 1.0):
        return None if request.negative_prompt else "guidance_scale"  # which is that prompt's, too
    named = (request.metadata or {}).get("method")
    return "metadata" if named is not None and is_strength(named) else None


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
