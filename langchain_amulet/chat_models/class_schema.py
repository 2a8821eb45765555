"""From a class to a JSON schema by which every valid text is one that the class takes.

Pydantic describes some types more widely than it reads them: any text for a Decimal or an URL, any
name for the keys of ``dict[int, str]``. Here they are described by what is read for sure, which may
be less than all that would be.

This module knows pydantic's types: nothing of LangChain, tools, grammars or decoding.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel, ByteSize, ValidationError
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
    dates_between,
    in_order,
    url,
    whole_numbers,
)
from langchain_amulet.errors import SchemaError
from langchain_amulet.grammar.schema_tree import all_of, resolved

UNBOUNDED = Decimal(10**15)
"""The largest amount of a finite number without bounds: floats are exact up to about there."""

LONGEST_FRACTION = 6
"""How many decimal places are written where the class says only how many digits there may be."""

BASE64 = {"base64": "+/", "base64url": "-_"}
"""The last two characters of base64's alphabets."""

PATHS = ("path", "file-path", "directory-path")
"""Formats of texts that say what must be there, which no grammar knows."""

BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def class_schema(cls: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a Pydantic class by which answers are written.

    Raises:
        SchemaError: A field is read from a path alone.
        pydantic.errors.PydanticInvalidForJsonSchema: It holds what JSON can't, such as functions.
    """
    by_alias = cls.model_config.get("validate_by_alias") is not False
    schema = _tagged(cls.model_json_schema(by_alias=by_alias, schema_generator=ReadableSchema))
    # Grammars leave the objects of a schema with such parts open, as far as it doesn't close them.
    return _closed(schema) if _contains(schema, ("allOf", "patternProperties")) else schema


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
        digits, places = schema.get("max_digits"), schema.get("decimal_places")
        if digits is None:
            return _decimals(schema, UNBOUNDED, places)
        if places is None:
            fractions = range(min(digits, LONGEST_FRACTION) + 1)
            return {"anyOf": [_decimals(schema, _most(digits, each), each) for each in fractions]}
        places = min(places, digits)  # zeros behind the point are counted as digits
        most, least = _most(digits, places), Decimal(1).scaleb(-places)
        if digits > places:
            return _decimals(schema, most, places)
        # Not even a single 0 is taken before the point, so that the number 0 isn't, either.
        sides = [
            _decimals({**schema, "ge": max(schema.get("ge") or least, least)}, most, places),
            _decimals({**schema, "le": min(schema.get("le") or -least, -least)}, most, places),
        ]
        return {"anyOf": [side for side in sides if side["minimum"] <= side["maximum"]] or sides}

    def float_schema(self, schema: Any) -> JsonSchemaValue:
        """Numbers, of which finite ones aren't so large that a reader takes them for infinite."""
        written, known = super().float_schema(schema), self._config.allow_inf_nan
        is_any = schema.get("allow_inf_nan", True if known is None else known)
        return written if is_any else _bounded(written, 1e15)

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
            return {"type": "string", "pattern": f"^{BYTE_COUNT}$"}
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
        return {"type": "string", "format": "date", **_span(schema)}

    def datetime_schema(self, schema: Any) -> JsonSchemaValue:
        """Times on the days between those that are allowed, with an offset or without."""
        zone = schema.get("tz_constraint")
        span = _span(schema)
        if zone == "naive":
            return {"type": "string", "pattern": f"^{DATE}T{TIME}$", **span}
        if isinstance(zone, int):
            return {"type": "string", "pattern": f"^{DATE}T{TIME}{_offset(zone)}$", **span}
        if span:  # a day is another one elsewhere
            span = {"allOf": [*span["allOf"], {"pattern": "Z$"}]}
        return {"type": "string", "format": "date-time", **span}

    def time_schema(self, schema: Any) -> JsonSchemaValue:
        """Times of the day, with an offset or without; between bounds, whole hours of them."""
        zone, clock = schema.get("tz_constraint"), _clock(schema)
        if zone is None and clock is None:
            return {"type": "string", "format": "time"}
        offset = _offset(zone) if isinstance(zone, int) else OFFSET if zone == "aware" else ""
        return {"type": "string", "pattern": f"^{clock or TIME}{offset}$"}

    def timedelta_schema(self, schema: Any) -> JsonSchemaValue:
        """Durations; between bounds they are whole seconds, as other texts can't be compared."""
        bounds = {name: schema[name] / timedelta(seconds=1) for name in BOUNDS if name in schema}
        low = max(math.ceil(bounds.get("ge", -1e8)), math.floor(bounds.get("gt", -1e8)) + 1)
        high = min(math.floor(bounds.get("le", 1e8)), math.ceil(bounds.get("lt", 1e8)) - 1)
        if not bounds or low > high:
            return {"type": "string", "format": "duration"}
        positive = [f"PT{whole_numbers(max(0, low), high)}S"] if high >= 0 else []
        negative = [f"-PT{whole_numbers(max(1, -high), -low)}S"] if low < 0 else []
        return {"type": "string", "pattern": f"^({'|'.join([*positive, *negative])})$"}

    def complex_schema(self, schema: Any) -> JsonSchemaValue:
        """Complex numbers, as Python writes them."""
        return {"type": "string", "pattern": f"^{COMPLEX}$"}

    def url_schema(self, schema: Any) -> JsonSchemaValue:
        """Addresses with the schemes that are allowed."""
        return {"type": "string", "pattern": f"^{url(schema.get('allowed_schemes') or ())}$"}

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


def _encoded_bytes(encoding: str, schema: Mapping[str, Any]) -> JsonSchemaValue:
    """Texts that are read as bytes: hexadecimal, or base64 of whole groups; no more than asked."""
    fewest, most = schema.get("min_length", 0), schema.get("max_length")
    if encoding == "hex":
        return {"type": "string", "pattern": f"^({HEX}{{2}}){{{fewest},{most or ''}}}$"}
    groups = f"{{{math.ceil(fewest / 3)},{'' if most is None else most // 3}}}"
    return {"type": "string", "pattern": f"^([A-Za-z0-9_-]{{4}}){groups}$"}


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


def _bounded(schema: Mapping[str, Any], most: float) -> JsonSchemaValue:
    """Numbers that are bounded by ``most`` where the schema has no bound."""
    low = {} if schema.keys() & {"minimum", "exclusiveMinimum"} else {"minimum": -most}
    high = {} if schema.keys() & {"maximum", "exclusiveMaximum"} else {"maximum": most}
    return {**schema, **low, **high}


def _most(digits: int, places: int) -> Decimal:
    """The largest number of so many digits, of which so many are decimal places."""
    return min(UNBOUNDED, Decimal(10**digits - 1).scaleb(-places))


def _decimals(schema: Mapping[str, Any], most: Decimal, places: int | None) -> JsonSchemaValue:
    """Numbers within the schema's bounds and up to ``most``."""
    step = None if places is None else Decimal(1).scaleb(-places)
    bounds = {name: Decimal(schema[name]) for name in BOUNDS if schema.get(name) is not None}
    lowest, highest = bounds.pop("ge", -most), bounds.pop("le", most)
    multiple = schema.get("multiple_of") or step
    return {
        "type": "number",
        "minimum": float(max(lowest, -most)),
        "maximum": float(min(highest, most)),
        **{BOUNDS[name]: float(value) for name, value in bounds.items()},
        **({} if multiple is None else {"multipleOf": float(multiple)}),
    }


def _span(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What days are allowed, as a keyword beside a day's format; empty if all are, or none.

    Past and future are those of now, and end with days that are so anywhere.
    """
    today = {datetime.now(UTC).date(), date.today()}
    lowest, highest = [date.min], [date.max]
    if schema.get("now_op") == "past":
        highest.append(min(today) - timedelta(days=1))
    if schema.get("now_op") == "future":
        lowest.append(max(today) + timedelta(days=1))
    lowest += [_day(schema[name], name == "gt") for name in ("ge", "gt") if name in schema]
    highest += [_day(schema[name], name == "lt", -1) for name in ("le", "lt") if name in schema]
    low, high = max(lowest), min(highest)
    if (low, high) == (date.min, date.max) or low > high:
        return {}
    return {"allOf": [{"pattern": f"^{dates_between(low, high)}"}]}


def _day(bound: date, is_exclusive: bool, inwards: int = 1) -> date:
    """The outermost day that is allowed as a whole by a bound, wherever in the world it is."""
    if isinstance(bound, datetime):
        return bound.date() + timedelta(days=2 * inwards)
    return bound + timedelta(days=inwards * is_exclusive)


def _clock(schema: Mapping[str, Any]) -> str | None:
    """A pattern of times within the hours that are allowed as a whole; None if all are, or none."""
    bounds = [schema[name].replace(tzinfo=None) for name in ("ge", "gt") if name in schema]
    low = max((bound.hour + (bound > time(bound.hour)) for bound in bounds), default=0)
    if "gt" in schema and schema["gt"].replace(tzinfo=None) == time(low):
        low += 1
    high = min((schema[name].hour - 1 for name in ("le", "lt") if name in schema), default=23)
    if (low, high) == (0, 23) or low > high:
        return None
    return f"{in_order(f'{low:02}', f'{high:02}', '[0-9]')}{TIME[TIME.index(':') :]}"


def _offset(seconds: int) -> str:
    """How an offset from UTC is written."""
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '[+]'}{hours:02}:{minutes:02}"


def _closed(schema: Any) -> Any:
    """A schema whose objects have no other properties than those it lists."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    inner = {key: _closed(value) for key, value in schema.items()}
    is_object = inner.get("type") == "object" and isinstance(inner.get("properties"), Mapping)
    return {"additionalProperties": False, **inner} if is_object else inner


def _contains(schema: Any, keywords: Collection[str]) -> bool:
    """Whether one of these keywords stands anywhere in a schema."""
    if isinstance(schema, list):
        return any(_contains(item, keywords) for item in schema)
    if not isinstance(schema, Mapping):
        return False
    here = not schema.keys().isdisjoint(keywords)
    return here or any(_contains(value, keywords) for value in schema.values())


def _without(schema: Mapping[str, Any], key: str) -> JsonSchemaValue:
    return {name: value for name, value in schema.items() if name != key}
