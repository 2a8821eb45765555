"""`/v1/preferences`: what a user prefers, for that user to see and change.

No preference is part of an address, which others log. Whose they are is found as for any call;
a key that may speak for others says so by ``user``.

Knows callers and stores. Doesn't know models.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from amulet_server.identity.caller import Caller
from amulet_server.protocol.chat_request import PreferenceInput, Preferences, Wish
from amulet_server.protocol.errors import ApiError
from amulet_server.protocol.wire import Listed, Wire
from amulet_server.routes.dependencies import ERRORS, CallerDep, ServiceDep
from amulet_server.service import Service
from amulet_server.styles import StyleRegistry
from amulet_server.transport.requests import StrictRoute
from langchain_amulet.memory import (
    Change,
    PreferenceMemory,
    PreferenceStore,
    Profile,
    StoredPreference,
)

router = APIRouter(
    prefix="/v1/preferences", tags=["preferences"], route_class=StrictRoute, responses=ERRORS
)

Whose = Annotated[str, Field(min_length=1)] | None


class StoredInput(PreferenceInput):
    """A preference to be kept; see `langchain_amulet.memory.StoredPreference`."""

    when: Listed[str] = Field(default_factory=list)
    expires_at: str | None = None


class PreferenceChange(Wire):
    """What a user is to prefer: a text, one with details, several, or traits."""

    preference: Wish | StoredInput | Preferences[Wish | StoredInput]
    user: Whose = None


class ForgetRequest(Wire):
    """What a user is no longer to prefer: this text, or what it names; or all without it."""

    text: Wish | None = None
    user: Whose = None


class PreferenceList(Wire):
    """What is stored of a user.

    Attributes:
        object: What this is, by OpenAI's name.
        data: What was asked for; of what is stored, all that isn't over.
        expired: What is over, and stored until something is set or added, or it is forgotten.
        updated_at: When what is stored was changed last.
    """

    object: str = "list"
    data: list[dict[str, Any]]
    expired: list[dict[str, Any]] = Field(default_factory=list)
    updated_at: datetime | None = None


@router.get("")
async def list_preferences(
    service: ServiceDep, caller: CallerDep, user: Whose = None
) -> PreferenceList:
    """What is stored, whether it applies to any message or not, and what is over apart from it."""
    store, user_id = _place(service, caller, user)
    return _listed(await store.aprofile(user_id))


@router.put("")
async def set_preferences(
    change: PreferenceChange, service: ServiceDep, caller: CallerDep
) -> PreferenceList:
    """Prefer this and nothing else."""
    return await _changed(change, service, caller, lambda store: store.aset)


@router.post("")
async def add_preferences(
    change: PreferenceChange, service: ServiceDep, caller: CallerDep
) -> PreferenceList:
    """Prefer this, too."""
    return await _changed(change, service, caller, lambda store: store.aadd)


@router.post("/forget")
async def forget_preferences(
    request: ForgetRequest, service: ServiceDep, caller: CallerDep
) -> PreferenceList:
    """No longer prefer this, or anything; returns what was forgotten."""
    store, user_id = _place(service, caller, request.user)
    texts = [request.text]
    named = None if request.text is None else service.registry.named(request.text)
    if named is not None:
        texts += [each.text for each in named.preference]
    each_forgotten = [await store.aforget(user_id, text) for text in dict.fromkeys(texts)]
    if request.text is not None and not any(each_forgotten):
        service.registry.wanted(request.text)  # what is nearly a name is told
    return PreferenceList(data=[_dumped(each) for found in each_forgotten for each in found])


@router.get("/history")
async def list_history(
    service: ServiceDep,
    caller: CallerDep,
    user: Whose = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> PreferenceList:
    """The last changes, newest first."""
    store, user_id = _place(service, caller, user)
    changes: tuple[Change, ...] = await _memory(store).ahistory(user_id, limit)
    return PreferenceList(data=[change.model_dump(mode="json") for change in changes])


@router.delete("", status_code=204)
async def erase_preferences(service: ServiceDep, caller: CallerDep, user: Whose = None) -> Response:
    """Leave nothing of the user in the store, history included."""
    store, user_id = _place(service, caller, user)
    await _memory(store).aerase(user_id)
    return Response(status_code=204)


async def _changed(
    change: PreferenceChange,
    service: Service,
    caller: Caller,
    way: Callable[[PreferenceStore], Callable[[str, list[StoredPreference]], Awaitable[None]]],
) -> PreferenceList:
    """What is stored once a change is made in one of a store's ways."""
    store, user_id = _place(service, caller, change.user)
    await way(store)(user_id, _stored(change.preference, service.registry))
    return _listed(await store.aprofile(user_id))


def _place(service: Service, caller: Caller, user: str | None) -> tuple[PreferenceStore, str]:
    """The store, and by what the user is known there."""
    user_id = caller.speaking_for(user).user_id
    if service.store is None:
        raise ApiError(
            404,
            "Preferences are kept in a store, but this server has none: start it with --store, or "
            "say what is preferred with each call.",
            code="no_store",
        )
    if user_id is None:
        raise ApiError(
            400,
            "Preferences are somebody's, but nothing says whose: use a user's own API key or "
            "header, or, where a caller may speak for others, name the user: by 'user' in the body "
            "of PUT and POST, and by ?user= in the address of GET and DELETE.",
            param="user",
            code="no_user",
        )
    return service.store, user_id


def _memory(store: PreferenceStore) -> PreferenceMemory:
    if not isinstance(store, PreferenceMemory):
        raise ApiError(
            404,
            "A store of one's own keeps no history, and this server has one: list or forget what "
            "is preferred now.",
            code="no_history",
        )
    return store


def _stored(
    value: str | StoredInput | list[str | StoredInput], registry: StyleRegistry
) -> list[StoredPreference]:
    if isinstance(value, str):
        return [StoredPreference(**dict(each)) for each in registry.wanted(value).preference]
    if isinstance(value, StoredInput):
        return [StoredPreference(**value.model_dump())]
    return [found for each in value for found in _stored(each, registry)]


def _listed(profile: Profile | None) -> PreferenceList:
    if profile is None:
        return PreferenceList(data=[])
    lasting = profile.lasting
    over = [_dumped(each) for each in profile.preferences if each not in lasting]
    data = [_dumped(each) for each in lasting]
    return PreferenceList(data=data, expired=over, updated_at=profile.updated_at)


def _dumped(preference: StoredPreference) -> dict[str, Any]:
    return preference.model_dump(mode="json")
