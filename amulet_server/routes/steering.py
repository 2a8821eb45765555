"""`/v1/steering`: what a call may say of preferences and methods, for programs that offer a choice.

Knows names, numbers and what methods say of themselves. Doesn't know how they steer.
"""

from __future__ import annotations

import inspect
from dataclasses import MISSING
from typing import get_type_hints

from fastapi import APIRouter
from pydantic import BaseModel

from amulet_server.routes.dependencies import ERRORS, CallerDep, ServiceDep
from amulet_server.transport.requests import StrictRoute
from langchain_amulet.methods import METHODS, STRENGTHS, Amulet, Method
from langchain_amulet.methods.method import parts

router = APIRouter(
    prefix="/v1/steering", tags=["preferences"], route_class=StrictRoute, responses=ERRORS
)

NUMBERS = (int, float, int | None, float | None)

Parameters = dict[str, float | None]
"""A method's numbers by name, how far it steers first; None where it does without one."""


class MethodInfo(BaseModel):
    """A method that a call may ask for.

    Attributes:
        name: By what it is asked for.
        meaning: What it does, in a line.
        parameters: Its numbers, which a call may set: ``name:parameter=value,...``.
    """

    name: str
    meaning: str
    parameters: Parameters


class SteeringInfo(BaseModel):
    """What this caller's calls may say.

    Attributes:
        object: "steering".
        model: The model's name.
        method: The name of the method that steers where a call names none, and
        parameters: its numbers.
        methods: Methods that a call may ask for.
        strengths: Strengths by the names that a call may use for them.
        traits: What asks for more of each trait, by the traits' names.
        styles: Names of further styles.
        user: Whose calls these are; null if that is for the call to say, or nobody's.
        names_users: Whether a call may say in whose name it is made.
        keeps_preferences: Whether there is a store.
    """

    object: str = "steering"
    model: str
    method: str
    parameters: Parameters
    methods: list[MethodInfo]
    strengths: dict[str, float]
    traits: dict[str, str]
    styles: list[str]
    user: str | None
    names_users: bool
    keeps_preferences: bool


@router.get("")
async def describe_steering(service: ServiceDep, caller: CallerDep) -> SteeringInfo:
    """What calls may ask for, and in whose name they are made."""
    method, registry = service.llm.method, service.registry
    return SteeringInfo(
        model=registry.model,
        method=method.name,
        parameters=_parameters(method),
        # Amulet may be asked for in any case: a strength by itself is Amulet's.
        methods=[
            _described(METHODS[name]) for name in dict.fromkeys((*registry.methods, Amulet.name))
        ],
        strengths=dict(STRENGTHS),
        traits={name: trait.more for name, trait in registry.traits.items()},
        styles=[name for name in registry.styles if name.casefold() not in registry.traits],
        user=caller.user,
        names_users=caller.for_others,
        keeps_preferences=service.store is not None,
    )


def _described(kind: type[Method]) -> MethodInfo:
    meaning, _, _ = (inspect.getdoc(kind) or kind.name).partition("\n")
    return MethodInfo(name=kind.name, meaning=meaning, parameters=_parameters(kind))


def _parameters(source: Method | type[Method]) -> Parameters:
    """The numbers of a method, or of a class of methods the defaults."""
    kind = source if isinstance(source, type) else type(source)
    hints = get_type_hints(kind)
    return {
        each.name: getattr(source, each.name)
        for each in parts(kind)
        if hints[each.name] in NUMBERS and each.default is not MISSING
    }
