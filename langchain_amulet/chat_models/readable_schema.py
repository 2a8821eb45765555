"""Types as JSON schemas by which every valid text is one that Pydantic reads.

Pydantic describes some types more widely than it reads them: any text for a Decimal or an URL, any
name for the keys of ``dict[int, str]``. Here they are described by what is read for sure, which may
be less than all that would be.

This module knows Pydantic's types, one by one: nothing of how a class is described as a whole.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic import AliasChoices, AliasPath, ByteSize, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind
from pydantic_core import PydanticSerializationError, SchemaValidator, to_jsonable_python

from langchain_amulet.chat_models.mapping_keys import NO_NAME, name_pattern
from langchain_amulet.chat_models.text_patterns import (
    BYTE_COUNT,
    COMPLEX,
    DATE,
    FORMATS,
    HEX,
    OFFSET,
    TIME,
    base64_texts,
    offset,
    url,
)
from langchain_amulet.chat_models.type_bounds import (
    BOUNDS,
    clock,
    decimals,
    finite,
    span,
    whole_seconds,
)
from langchain_amulet.errors import SchemaError

BASE64 = {"base64": "+/", "base64url": "-_"}
"""The last two characters of base64's alphabets."""

PATHS = ("path", "file-path", "directory-path")
"""Formats of texts that say what must be there, which no grammar knows."""


class ReadableSchema(GenerateJsonSchema):
    """Describes types by texts that pydantic reads."""

    _defined: Sequence[Any] = ()

    def definitions_schema(self, schema: Any) -> JsonSchemaValue:
        """What pydantic says of it; keeps what references lead to, by which keys are tried out."""
        self._defined = schema["definitions"]
        return super().definitions_schema(schema)

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        """What pydantic says of any type, with patterns for formats that only it knows."""
        written = super().generate_inner(schema)
        name = str(written.get("format"))
        if name == "zoneinfo":  # hundreds of names, of which readers have some or others
            told = "a time zone (use a Literal of the names that are meant)"
            self.handle_invalid_for_json_schema(schema, told)
        if name in BASE64:
            is_text = schema.get("schema", schema).get("type") != "bytes"
            pattern = base64_texts(BASE64[name], is_text)
            return {**_without(written, "format"), "pattern": f"^{pattern}$"}
        if name in FORMATS:
            return {"pattern": f"^{FORMATS[name]}$", **_without(written, "format")}
        return _without(written, "format") if name in PATHS else written

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        """Say nothing of defaults that JSON can't write: they are left out."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        """Objects, whose class reads each field by a name."""
        _check_named(schema["cls"])
        return super().model_schema(schema)

    def dataclass_schema(self, schema: Any) -> JsonSchemaValue:
        """As `model_schema`."""
        _check_named(schema["cls"])
        return super().dataclass_schema(schema)

    def decimal_schema(self, schema: Any) -> JsonSchemaValue:
        """Numbers of so many digits; never so large that a reader would take them for infinite."""
        return decimals(schema)

    def float_schema(self, schema: Any) -> JsonSchemaValue:
        """Numbers, of which finite ones aren't so large that a reader takes them for infinite."""
        written, known = super().float_schema(schema), self._config.allow_inf_nan
        is_any = schema.get("allow_inf_nan", True if known is None else known)
        return written if is_any else finite(written)

    def fraction_schema(self, schema: Any) -> JsonSchemaValue:
        """Fractions as texts; numbers where they have bounds."""
        bounds = {name: float(schema[name]) for name in BOUNDS if schema.get(name) is not None}
        if bounds:
            return self.float_schema({"type": "float", **bounds, "allow_inf_nan": False})
        return {"type": "string", "format": "fraction"}

    def str_schema(self, schema: Any) -> JsonSchemaValue:
        """Texts; what is stripped when it is read has nothing to strip."""
        written = super().str_schema(schema)
        if written.get("pattern") == ByteSize.byte_string_pattern:
            return _texts(BYTE_COUNT)
        is_stripped = schema.get("strip_whitespace", self._config.str_strip_whitespace)
        if is_stripped and (written.get("minLength") or "pattern" in written):
            return {**written, "allOf": [{"pattern": r"^\S"}, {"pattern": r"\S$"}]}
        return written

    def bytes_schema(self, schema: Any) -> JsonSchemaValue:
        """Texts; where their bytes are counted, of characters that have one each."""
        written, encoding = super().bytes_schema(schema), self._config.val_json_bytes
        if encoding != "utf8":
            return _encoded_bytes(encoding, schema)
        if "maxLength" in written and written.get("format") == "binary":
            return {**_without(written, "format"), "pattern": r"^[ -~]*$"}
        return written

    def date_schema(self, schema: Any) -> JsonSchemaValue:
        """Days between those that are allowed."""
        return {"type": "string", "format": "date", **span(schema)}

    def datetime_schema(self, schema: Any) -> JsonSchemaValue:
        """Times on the days between those that are allowed, with an offset or without."""
        zone = schema.get("tz_constraint")
        days = span(schema)
        if zone == "naive":
            return {**_texts(f"{DATE}T{TIME}"), **days}
        if isinstance(zone, int):
            return {**_texts(f"{DATE}T{TIME}{offset(zone)}"), **days}
        if days:  # a day is another one elsewhere
            days = {"allOf": [*days["allOf"], {"pattern": "Z$"}]}
        return {"type": "string", "format": "date-time", **days}

    def time_schema(self, schema: Any) -> JsonSchemaValue:
        """Times of the day, with an offset or without; between bounds, whole hours of them."""
        zone, hours = schema.get("tz_constraint"), clock(schema)
        if zone is None and hours is None:
            return {"type": "string", "format": "time"}
        zones = offset(zone) if isinstance(zone, int) else OFFSET if zone == "aware" else ""
        return _texts(f"{hours or TIME}{zones}")

    def timedelta_schema(self, schema: Any) -> JsonSchemaValue:
        """Durations; between bounds they are whole seconds, as other texts can't be compared."""
        pattern = whole_seconds(schema)
        return {"type": "string", "format": "duration"} if pattern is None else _texts(pattern)

    def complex_schema(self, schema: Any) -> JsonSchemaValue:
        """Complex numbers, as Python writes them."""
        return _texts(COMPLEX)

    def url_schema(self, schema: Any) -> JsonSchemaValue:
        """Addresses with the schemes that are allowed."""
        return _texts(url(schema.get("allowed_schemes") or ()))

    def multi_host_url_schema(self, schema: Any) -> JsonSchemaValue:
        """Addresses with the schemes that are allowed, of one host."""
        return self.url_schema(schema)

    def uuid_schema(self, schema: Any) -> JsonSchemaValue:
        """Ids of the version that is asked for."""
        version = schema.get("version")
        return {"type": "string", "format": f"uuid{version}" if version else "uuid"}

    def enum_schema(self, schema: Any) -> JsonSchemaValue:
        """Those of its values that are read from JSON."""
        read = self._read(schema, schema["members"])
        kept: Any = {**schema, "members": [*read.values()]}
        written = super().enum_schema(kept)
        values = [json.loads(text) for text in read]
        return (
            written if written["enum"] == values else {**_without(written, "type"), "enum": values}
        )

    def literal_schema(self, schema: Any) -> JsonSchemaValue:
        """Those of its values that are read from JSON."""
        read = self._read(schema, schema["expected"])
        kept: Any = {**schema, "expected": [*read.values()]}
        return super().literal_schema(kept)

    def _read(self, schema: Any, values: Sequence[Any]) -> dict[str, Any]:
        """Those of its values that are read from JSON, by what they are read from."""
        reader = SchemaValidator(schema)
        found: dict[str, Any] = {}
        for value in values:
            texts = (each for each in _json_of(value) if _is_read(reader, each))
            if (text := next(texts, None)) is not None:
                found.setdefault(text, value)
        if not found:
            self.handle_invalid_for_json_schema(
                schema, "values of which none is read from JSON (use texts or numbers as values)"
            )
        return found

    def union_schema(self, schema: Any) -> JsonSchemaValue:
        """A choice of what can be described; refused where nothing can."""
        return self._filled(super().union_schema(schema), schema)

    def tagged_union_schema(self, schema: Any) -> JsonSchemaValue:
        """As `union_schema`."""
        return self._filled(super().tagged_union_schema(schema), schema)

    def _filled(self, written: JsonSchemaValue, schema: Any) -> JsonSchemaValue:
        if [] in (written.get("anyOf"), written.get("oneOf")):
            self.handle_invalid_for_json_schema(schema, "a choice of nothing that JSON can have")
        return written

    def is_subclass_schema(self, schema: Any) -> JsonSchemaValue:
        """Refused: no JSON is read as a class."""
        return self.handle_invalid_for_json_schema(schema, "a class as a value")

    def set_schema(self, schema: Any) -> JsonSchemaValue:
        """Lists; what is in them twice is read as once, unless so many are needed."""
        written = super().set_schema(schema)
        if written.get("items") == {}:  # lists and objects can't be in a set
            written["items"] = {"type": ["string", "number", "boolean", "null"]}
        return written if written.get("minItems", 0) > 1 else _without(written, "uniqueItems")

    def frozenset_schema(self, schema: Any) -> JsonSchemaValue:
        """As `set_schema`."""
        return self.set_schema(schema)

    def dict_schema(self, schema: Any) -> JsonSchemaValue:
        """Objects whose names are texts of their keys."""
        values = self.generate_inner(schema["values_schema"]) if "values_schema" in schema else {}
        keys = self.generate_inner(schema["keys_schema"]) if "keys_schema" in schema else {}
        written: JsonSchemaValue = {"type": "object", "additionalProperties": values or True}
        if keys.keys() & {"minLength", "maxLength"} and "pattern" in keys:
            written["propertyNames"] = keys
        elif (pattern := name_pattern(keys, self._referred, self._reads(schema))) == NO_NAME:
            told = "a mapping whose keys are no texts, or none that a pattern tells"
            self.handle_invalid_for_json_schema(schema, told)
        elif pattern is not None:
            named = {"patternProperties": {f"^{pattern}$": values}}
            written = {"type": "object", **named, "additionalProperties": False}
        self.update_with_validations(written, schema, self.ValidationsMapping.object)
        return written

    frozendict_schema = ordered_dict_schema = dict_schema

    def counter_schema(self, schema: Any) -> JsonSchemaValue:
        """Objects of whole numbers."""
        return self.dict_schema({"values_schema": {"type": "int"}, **schema})

    def _referred(self, reference: str) -> Mapping[str, Any]:
        return self.get_schema_from_definitions(reference) or {}  # type: ignore[arg-type]

    def _reads(self, schema: Any) -> Callable[[str], bool]:
        """Whether a text is read as a key of a mapping."""
        keys = {"type": "dict", "keys_schema": schema.get("keys_schema", {"type": "any"})}
        whole: Any = {"type": "definitions", "schema": keys, "definitions": [*self._defined]}

        def reads(text: str) -> bool:
            return _is_read(SchemaValidator(whole), json.dumps({text: None}))

        return reads


def _check_named(cls: type[Any]) -> None:
    """Refuse a field that its class looks for deeper than where the schema would ask for it.

    Raises:
        SchemaError: A field is read from a path alone.
    """
    config = getattr(cls, "model_config", None) or getattr(cls, "__pydantic_config__", {})
    by_name = ("validate_by_name", "populate_by_name")
    if config.get("validate_by_alias") is False or any(config.get(each) for each in by_name):
        return
    for name, field in getattr(cls, "__pydantic_fields__", {}).items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        paths = [choice.path for choice in choices if isinstance(choice, AliasPath)]
        if len(paths) == len(choices):
            path = ".".join(map(str, paths[0]))
            raise SchemaError(
                f"A field must be read by a name that answers can have, but {cls.__name__} reads "
                f"{name!r} from the path {path!r} alone: give it a name beside, as in "
                f"AliasChoices({name!r}, AliasPath(...)), or nest the classes as the path does."
            )


def _json_of(value: Any) -> Iterator[str]:
    """What JSON may have for a value: as Pydantic would write it, and for a Decimal a number."""
    plain = value.value if isinstance(value, Enum) else value
    if isinstance(plain, Decimal) and plain.is_finite():
        yield json.dumps(float(plain))
    try:
        yield json.dumps(to_jsonable_python(plain))
    except (PydanticSerializationError, ValueError):
        return  # nothing at all


def _is_read(reader: SchemaValidator, text: str) -> bool:
    try:
        reader.validate_json(text)
    except ValidationError:
        return False
    return True


def _texts(pattern: str) -> JsonSchemaValue:
    """Texts of which a pattern says all."""
    return {"type": "string", "pattern": f"^{pattern}$"}


def _encoded_bytes(encoding: str, schema: Mapping[str, Any]) -> JsonSchemaValue:
    """Texts that are read as bytes: hexadecimal, or base64 of whole groups; no more than asked."""
    fewest, most = schema.get("min_length", 0), schema.get("max_length")
    if encoding == "hex":
        return _texts(f"({HEX}{{2}}){{{fewest},{most or ''}}}")
    groups = f"{{{math.ceil(fewest / 3)},{'' if most is None else most // 3}}}"
    return _texts(f"([A-Za-z0-9_-]{{4}}){groups}")


def _without(schema: Mapping[str, Any], key: str) -> JsonSchemaValue:
    return {name: value for name, value in schema.items() if name != key}
