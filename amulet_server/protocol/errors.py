"""Errors as OpenAI's clients read them: a status, and an object that says what was wrong.

::

    {"error": {"message": ..., "type": ..., "param": ..., "code": ...}}

Knows the package's exceptions. Doesn't know where they came from, or how they are sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from langchain_amulet.chat_models.other_names import OTHER_NAMES
from langchain_amulet.errors import (
    AmuletError,
    ChatTemplateError,
    ConfigurationError,
    ContextLengthError,
    CorruptProfileError,
    DeadlineError,
    EmptyInputError,
    EngineClosedError,
    EngineError,
    ModelNotFoundError,
    PreferenceError,
    PreferenceStoreError,
    QueueFullError,
    RequestError,
    SchemaError,
    ToolError,
    UnsupportedContentError,
    UnsupportedModelError,
    VocabularyMismatchError,
)
from langchain_amulet.validation.pydantic_errors import RULES, rule_of
from langchain_amulet.validation.wording import nearest

INVALID = "invalid_request_error"
SERVER = "server_error"

RETRY_SECONDS = 1
"""After how long a refused call is worth another try: answers end all the time."""


FIELD = re.compile(r"use (\w+)(?:,|$|=\[)")
"""What another name is told to be here, where a request can say it as well as Python."""

LIKE = 0.75
"""How like a parameter's name another must be to be taken for it: their names are much alike."""

IN_JSON: Mapping[str, str] = MappingProxyType(
    {
        **RULES,
        "bool_type": "true or false",
        "dict_type": "an object",
        "model_type": "an object",
        "model_attributes_type": "an object",
        "union_tag_not_found": "an object with {discriminator}",
        "union_tag_invalid": "one whose {discriminator} is one of {expected_tags}",
    }
)
"""What a value must be that broke a rule, to who writes JSON."""

PYTHON = re.compile(r"(?<!['\w])(None|True|False)(?!['\w])")
"""Values that JSON spells in another way."""


class ErrorDetail(BaseModel):
    """What was wrong.

    Attributes:
        message: In words.
        type: The kind of error, by OpenAI's names.
        param: The field of the request that it is about, if it is about one.
        code: The error, for programs.
    """

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of an answer that is an error."""

    error: ErrorDetail


class ApiError(AmuletError):
    """A request that isn't answered, as the caller is told.

    Attributes:
        status: The HTTP status.
        detail: What the caller is told.
        headers: Headers that go with it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = INVALID,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Say what was wrong; ``kind`` is OpenAI's ``type``."""
        super().__init__(message)
        self.status = status
        self.detail = ErrorDetail(message=message, type=kind, param=param, code=code)
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The body of the answer."""
        return ErrorBody(error=self.detail).model_dump()

    @property
    def json(self) -> str:
        """The same as an event of a stream."""
        return ErrorBody(error=self.detail).model_dump_json()


# The first that fits counts: what is nearer to the leaves of the tree comes first.
_RULES: tuple[tuple[type[Exception], int, str, str | None, str | None], ...] = (
    (ContextLengthError, 400, INVALID, "context_length_exceeded", "messages"),
    (EmptyInputError, 400, INVALID, "empty_input", "messages"),
    (UnsupportedContentError, 400, INVALID, "unsupported_content", "messages"),
    (ChatTemplateError, 400, INVALID, "unsupported_conversation", "messages"),
    (PreferenceError, 400, INVALID, "invalid_preference", "preference"),
    (SchemaError, 400, INVALID, "invalid_schema", "response_format"),
    (ToolError, 400, INVALID, "invalid_tool", "tools"),
    (RequestError, 400, INVALID, "invalid_request", None),
    (ModelNotFoundError, 503, SERVER, "model_unavailable", None),
    (UnsupportedModelError, 503, SERVER, "model_unavailable", None),
    (VocabularyMismatchError, 503, SERVER, "model_unavailable", None),
    (ConfigurationError, 400, INVALID, "invalid_value", None),
    (QueueFullError, 429, "rate_limit_error", "rate_limit_exceeded", None),
    (EngineClosedError, 503, SERVER, "model_closed", None),
    (DeadlineError, 504, SERVER, "timeout", None),
    (EngineError, 500, SERVER, "generation_failed", None),
    (PreferenceStoreError, 503, SERVER, "preference_store_unavailable", None),
    (CorruptProfileError, 500, SERVER, "preferences_unreadable", None),
)

_MESSAGES: Mapping[int, str] = {
    500: "The answer failed on the server. Try again, or tell whoever runs it the request's id.",
    503: "The server can't answer now. Try again later, or tell whoever runs it the request's id.",
}
"""What callers are told of the server's own faults, which name its files and stores."""


def as_api_error(error: Exception) -> ApiError:
    """What a caller is told of an error of any kind."""
    if isinstance(error, ApiError):
        return error
    for kind, status, type_, code, param in _RULES:
        if isinstance(error, kind):
            message = _MESSAGES.get(status) or _in_json(str(error))
            headers = {"Retry-After": str(RETRY_SECONDS)} if status == 429 else {}
            return ApiError(status, message, param=param, code=code, kind=type_, headers=headers)
    return ApiError(500, _MESSAGES[500], code="internal_error", kind=SERVER)


def _in_json(message: str) -> str:
    """What the package says to who writes Python, to who writes JSON."""
    spelled = {"None": "null", "True": "true", "False": "false"}
    return PYTHON.sub(lambda found: spelled[found[0]], message)


@contextmanager
def about(param: str) -> Iterator[None]:
    """Say of errors which field of the request they are about, whatever their kind says."""
    try:
        yield
    except AmuletError as error:
        told = as_api_error(error)
        told.detail.param = param
        raise told from None


MOST_COMPLAINTS = 1000
"""Among how many complaints the one to tell is looked for."""

LONGEST_PLACE = 200
"""How much of where something is wrong is told: a name may be as long as a request."""


def invalid(
    complaints: Sequence[Mapping[str, Any]],
    body: Any,
    known: Callable[[Sequence[int | str]], Collection[str]],
) -> ApiError:
    """What a caller is told of a request that isn't as it must be: one of pydantic's complaints.

    None of them quotes what the request holds, which may be private.

    Args:
        complaints: As pydantic's ``ValidationError.errors()``, with "body", "query" or "path"
            before each place.
        body: What the request holds.
        known: The names that may stand at a place, which begins as those of complaints do.
    """
    first = _nearest(complaints[:MOST_COMPLAINTS], body)
    kind, place = first["type"], _place(first, body)
    if place is not None and len(place) > LONGEST_PLACE:
        place = f"{place[:LONGEST_PLACE]}..."
    own = first.get("ctx", {}).get("error")
    if isinstance(own, AmuletError):
        error = as_api_error(own)
        error.detail.param = place or error.detail.param
        return error
    if isinstance(body, bytes):  # FastAPI reads no JSON that isn't called so
        message = "A request's Content-Type must be application/json: send that header with it."
        return ApiError(400, message, code="invalid_content_type")
    if kind == "json_invalid" or (kind == "missing" and not place):
        reason = own if kind == "json_invalid" else "there is none"
        message = f"A request must have a body of JSON, but it can't be read: {reason}. Mend it."
        return ApiError(400, message, code="invalid_json")
    if kind == "extra_forbidden":
        *outer, name = first["loc"]
        message = (
            f"Unknown parameter: '{place}'. This server ignores none, since the answer would be "
            f"another than was asked for: {_instead_of(name, known(outer))}."
        )
        return ApiError(400, message, param=place, code="unknown_parameter")
    if kind == "missing":
        message = f"Missing required parameter: '{place}'. Add it."
        return ApiError(400, message, param=place, code="missing_required_parameter")
    rule = rule_of(first, IN_JSON)
    message = f"Invalid value for '{place}': {rule}." if place else f"Invalid request: {rule}."
    return ApiError(400, message, param=place, code="invalid_value")


def _nearest(complaints: Sequence[Mapping[str, Any]], body: Any) -> Mapping[str, Any]:
    """The complaint to tell: of the first one's place, or of what is wrong within it.

    Where a field may be of several kinds there is a complaint for each, and those that went
    furthest into the request are of the kind that was meant, or else those about something else
    than the kind.
    """
    first = _place(complaints[0], body) or ""
    within = [each for each in complaints if (_place(each, body) or "").startswith(first)]

    def nearness(complaint: Mapping[str, Any]) -> tuple[int, bool]:
        depth = len(re.findall(r"[.\[]", _place(complaint, body) or ""))
        return depth, not complaint["type"].endswith("_type")

    return max(within, key=nearness)


def _instead_of(name: str, known: Collection[str]) -> str:
    """What to write for a name that isn't known, or that others know."""
    other = OTHER_NAMES.get(name, "")
    if (named := FIELD.match(other)) and named[1] in known:
        return other
    close = nearest(name, known, LIKE)
    return f"did you mean '{close}'? Rename it, or leave it out" if close else "leave it out"


def _place(complaint: Mapping[str, Any], body: Any) -> str | None:
    """Where in the request, as OpenAI writes it.

    Pydantic's places have the names of a union's cases in them, which are nowhere in the request.
    """
    root, *location = complaint["loc"]
    written, value = "", body
    for part in location:
        if root != "body" or (isinstance(value, dict) and part in value):
            written, value = f"{written}.{part}", value[part] if root == "body" else None
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            written, value = f"{written}[{part}]", value[part]
    if complaint["type"] == "missing" and location:
        written = f"{written}.{location[-1]}"
    return written.lstrip(".") or None
