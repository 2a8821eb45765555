"""From a `TypedDict` to the Pydantic class that describes the same object.

Pydantic takes ``typing.TypedDict`` from Python 3.12 on only, and doesn't know LangChain's way of
writing a field: ``Annotated[type, default, "description"]``, with ``...`` for no default.

This module knows Python's types: nothing of JSON schemas, tools or grammars.
"""

from __future__ import annotations

import inspect
import re
from types import UnionType
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import BaseMetadata, GroupedMetadata
from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo
from typing_extensions import ReadOnly, is_typeddict

ARGUMENTS = re.compile(r"^\s*(?:Args|Arguments|Attributes):\s*\n(?P<fields>.*)", re.M | re.S)
"""Where a docstring in Google's style describes the fields."""

Models = dict[type, "type[BaseModel] | None"]
"""The class of each ``TypedDict``; None while it is being made."""

ATTRIBUTE = "field_"
"""What attributes are called whose keys are no names for one."""

FIELD = re.compile(r"^ +(\w+)(?: *\(.*?\))?: *(.+)$", re.M)


def as_model(typed_dict: type) -> type[BaseModel]:
    """A class whose JSON schema is that of a ``TypedDict``, and of those that it holds."""
    models: Models = {}
    model = _model(typed_dict, models)
    known = {_place(each, models): made for each, made in models.items() if made is not None}
    for each in known.values():
        each.model_rebuild(force=True, _types_namespace=known)
    return model


def _model(typed_dict: type, models: Models) -> type[BaseModel]:
    models[typed_dict] = None  # it is being made, and may hold itself
    docstring = inspect.cleandoc(typed_dict.__doc__ or "")  # getdoc would find that of dict
    listed = ARGUMENTS.search(docstring)
    told = dict(FIELD.findall(listed["fields"])) if listed else {}
    required: frozenset[str] = getattr(typed_dict, "__required_keys__", frozenset())
    fields: dict[str, Any] = {
        _attribute(name, number): _field(hint, name, name in required, told.get(name), models)
        for number, (name, hint) in enumerate(
            get_type_hints(typed_dict, include_extras=True).items()
        )
    }
    described = docstring[: listed.start()] if listed else docstring
    model: type[BaseModel] = create_model(typed_dict.__name__, __doc__=described.strip(), **fields)
    models[typed_dict] = model
    return model


def _attribute(name: str, number: int) -> str:
    """What a key is called where it is a class's attribute, if it can't be that: it is its alias.

    Others stay what they are, as a union's classes are told apart by the name of an attribute.
    """
    is_taken = hasattr(BaseModel, name) or name.startswith(("_", "model_", ATTRIBUTE))
    return name if name.isidentifier() and not is_taken else f"{ATTRIBUTE}{number}"


def _place(typed_dict: type, models: Models) -> str:
    """A name for a `TypedDict`, as several may be called the same."""
    return f"typed_dict_{[*models].index(typed_dict)}"


def _field(
    hint: Any, name: str, is_required: bool, description: str | None, models: Models
) -> tuple[Any, Any]:
    """A field's type, and what is known of it besides."""
    metadata: list[Any] = []
    while (mark := get_origin(hint)) in (Required, NotRequired, ReadOnly, Annotated):
        is_required = mark is Required or (is_required and mark is not NotRequired)
        metadata += getattr(hint, "__metadata__", ())
        hint = get_args(hint)[0]
    known: dict[str, Any] = {"alias": name}
    if len(metadata) == 2 and isinstance(metadata[1], str) and not _is_rule(metadata[0]):
        default, metadata = metadata[0], metadata[1:]
        known |= {} if default is ... else {"default": default}
    texts = [each for each in metadata if isinstance(each, str)]
    known |= {"description": description or texts[0]} if description or texts else {}
    if not is_required and "default" not in known:
        known["default_factory"] = lambda: None  # a default that no schema tells of
    constraints = [each for each in metadata if not isinstance(each, str) and each is not ...]
    changed = _without_typed_dicts(hint, models)
    whole = Annotated[(changed, *constraints)] if constraints else changed
    return whole, Field(**known)


def _is_rule(metadata: Any) -> bool:
    """Whether it says what is valid, as Pydantic reads it, and can be no default."""
    return isinstance(metadata, (FieldInfo, BaseMetadata, GroupedMetadata))


def _without_typed_dicts(hint: Any, models: Models) -> Any:
    """A type with classes in place of each ``TypedDict``, by name where it is being made."""
    if is_typeddict(hint):
        made = models[hint] if hint in models else _model(hint, models)
        return made or ForwardRef(_place(hint, models))
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is None or origin is Literal or not arguments:
        return hint
    changed = tuple(_without_typed_dicts(argument, models) for argument in arguments)
    if origin in (Union, UnionType):
        return Union[changed]  # noqa: UP007 - of so many
    if origin is Annotated:
        return Annotated[(changed[0], *hint.__metadata__)]
    return origin[changed]
