"""The server against its own description: whatever is sent, the answer is one that it documents."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from support.servers import RunningServer

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
OPERATIONS = (
    "POST /v1/chat/completions",
    "GET /v1/models",
    "GET /v1/models/{model}",
    "GET /v1/preferences",
    "PUT /v1/preferences",
    "POST /v1/preferences",
    "DELETE /v1/preferences",
    "POST /v1/preferences/forget",
    "GET /v1/preferences/history",
    "GET /v1/steering",
    "GET /health",
    "GET /ready",
    "GET /metrics",
)


def operations(server: RunningServer) -> dict[str, Any]:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    found = [result.ok() for result in schema.get_all_operations()]
    return {f"{each.method.upper()} {each.path}": each for each in found}


def test_all_that_is_answered_is_described(server: RunningServer) -> None:
    assert sorted(operations(server)) == sorted(OPERATIONS)


def test_what_can_t_be_read_is_described_as_it_is_answered(server: RunningServer) -> None:
    described = server.http().get("/openapi.json").json()
    assert "HTTPValidationError" not in str(described)
    for path, operations in described["paths"].items():
        for operation in operations.values():
            answers = operation["responses"]
            assert "422" not in answers
            if path.startswith("/v1/"):
                schema = answers["400"]["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorBody"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_documented_and_none_is_a_fault(server: RunningServer, name: str) -> None:
    operation = operations(server)[name]

    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def answered(case: Any) -> None:
        if isinstance(case.body, dict) and "max_tokens" in case.body:
            case.body["max_tokens"] = 2
        case.call_and_validate(checks=CHECKS)

    answered()
