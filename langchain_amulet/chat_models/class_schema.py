"""From a class to a JSON schema by which every valid text is one that the class takes.

Types are described one by one; then what only the whole can say: which class of a union is meant,
and that objects have no other properties than they list.

This module knows what Pydantic writes of classes: nothing of single types, LangChain, tools,
grammars or decoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaValue

from langchain_amulet.chat_models.readable_schema import ReadableSchema
from langchain_amulet.grammar.schema_tree import all_of, everywhere, resolved


def class_schema(cls: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a Pydantic class by which answers are written.

    Raises:
        SchemaError: A field is read from a path alone.
        pydantic.errors.PydanticInvalidForJsonSchema: It holds what JSON can't, such as functions.
    """
    by_alias = cls.model_config.get("validate_by_alias") is not False
    schema = _tagged(cls.model_json_schema(by_alias=by_alias, schema_generator=ReadableSchema))
    # Grammars leave the objects of a schema with such parts open, as far as it doesn't close them.
    is_open = any({"allOf", "patternProperties"} & each.keys() for each in all_of(schema))
    return everywhere(schema, _closed) if is_open else schema


def _tagged(schema: JsonSchemaValue) -> JsonSchemaValue:
    """A schema whose classes, where one of several is meant, always say which they are.

    Pydantic chooses by what is written, and not by a default.
    """
    classes = dict(schema.get("$defs", {}))
    for union in all_of(schema):
        for name in _chosen(union, schema):
            chosen, by = classes[name], union.get("discriminator", {}).get("propertyName")
            listed: Mapping[str, Any] = chosen.get("properties", {})
            tags = {by} if by in listed else {key for key in listed if "const" in listed[key]}
            required = [*chosen.get("required", ()), *(key for key in listed if key in tags)]
            classes[name] = {**chosen, "required": list(dict.fromkeys(required))}
    return {**schema, "$defs": classes} if classes else schema


def _chosen(union: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[str]:
    """Names of the classes among which one is chosen, through choices of choices."""
    for branch in union.get("oneOf", ()):
        whole = resolved(branch, root)
        if "oneOf" in whole:
            yield from _chosen(whole, root)
        elif "properties" in whole and "$ref" in branch:
            yield branch["$ref"].rpartition("/")[2]


def _closed(schema: JsonSchemaValue, place: str) -> JsonSchemaValue:
    """An object's schema by which it has no other properties than those it lists."""
    is_object = schema.get("type") == "object" and isinstance(schema.get("properties"), Mapping)
    return {"additionalProperties": False, **schema} if is_object else schema
