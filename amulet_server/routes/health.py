"""`/health`, `/ready` and `/metrics`: for those who run a server.

Knows what a service says of itself. Doesn't know what it is asked.
"""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel

from amulet_server.metrics import CONTENT_TYPE
from amulet_server.protocol.errors import SERVER, ApiError
from amulet_server.routes.dependencies import ERRORS, CallerDep, ServiceDep
from amulet_server.transport.requests import BoundedRoute

router = APIRouter(tags=["operation"], route_class=BoundedRoute, responses=ERRORS)


class Health(BaseModel):
    """What is well."""

    status: str


@router.get("/health")
async def health() -> Health:
    """Whether the process answers at all, for who would restart it."""
    return Health(status="ok")


@router.get("/ready")
async def ready(service: ServiceDep) -> Health:
    """Whether the model is loaded, for who sends requests here."""
    if not service.readiness.is_ready:
        state = (
            "is being loaded: ask again in a moment"
            if service.readiness.failure is None
            else "couldn't be loaded: the server wrote why"
        )
        raise ApiError(503, f"The model {state}.", code="not_ready", kind=SERVER)
    return Health(status="ready")


@router.get("/metrics", response_class=Response)
async def metrics(service: ServiceDep, caller: CallerDep) -> Response:
    """What was counted, as Prometheus reads it."""
    stats = service.llm.stats() if service.readiness.is_ready else None
    return Response(service.metrics.text(stats), headers={"Content-Type": CONTENT_TYPE})
