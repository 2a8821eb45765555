"""`/v1/models`: the model, and one more for each style.

Knows names. Doesn't know weights.
"""

from __future__ import annotations

from fastapi import APIRouter
from openai.types import Model
from pydantic import BaseModel

from amulet_server.protocol.steering_request import unknown_model
from amulet_server.routes.dependencies import ERRORS, CallerDep, ServiceDep
from amulet_server.service import Service
from amulet_server.transport.requests import StrictRoute

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=StrictRoute, responses=ERRORS)

OWNER = "langchain-amulet"


class ModelList(BaseModel):
    """All models."""

    object: str = "list"
    data: list[Model]


@router.get("")
async def list_models(service: ServiceDep, caller: CallerDep) -> ModelList:
    """All models that a request may name."""
    return ModelList(data=[_model(service, name) for name in service.registry.models])


@router.get("/{model:path}")
async def get_model(model: str, service: ServiceDep, caller: CallerDep) -> Model:
    """One model."""
    if model not in service.registry.models:
        raise unknown_model(model, service.registry)
    return _model(service, model)


def _model(service: Service, name: str) -> Model:
    return Model(id=name, created=service.started, object="model", owned_by=OWNER)
