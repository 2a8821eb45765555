"""What a class's JSON schema lets through, the class takes."""

import collections
import enum
import fractions
import ipaddress
import json
import re
import uuid
import zoneinfo
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    StringConstraints,
    Tag,
    create_model,
)
from pydantic.errors import PydanticInvalidForJsonSchema

from langchain_amulet.chat_models.class_schema import class_schema
from langchain_amulet.chat_models.text_patterns import dates_between, whole_numbers
from langchain_amulet.errors import SchemaError
from support.sampled import sampled


class Number(enum.IntEnum):
    one = 1
    two = 2


class Amount(enum.Enum):
    """Of which JSON has two as a number, one as a text, and none as a day."""

    half = Decimal("0.5")
    many = "many"
    whole = 1
    today = date(2026, 1, 1)


class Colour(enum.Enum):
    dark_red = "dark (red)"
    blue = "blue"


@dataclass
class Trip:
    days: int
    start: date


class Point(NamedTuple):
    x: Decimal
    y: Decimal = Decimal(0)


class Price(BaseModel):
    amount: Annotated[Decimal, Field(gt=0, max_digits=6, decimal_places=2)]
    rebates: dict[int, Decimal] = {}


def decimal(**rules: Any) -> Any:
    return Annotated[Decimal, Field(**rules)]


NUMBERS: dict[str, Any] = {
    "Decimal": Decimal,
    "digits and places": decimal(max_digits=5, decimal_places=2),
    "digits": decimal(max_digits=3),
    "places": decimal(decimal_places=8),
    "no digit before the point": decimal(max_digits=2, decimal_places=2),
    "more places than digits": decimal(max_digits=2, decimal_places=3),
    "positive with no digit before the point": decimal(max_digits=2, decimal_places=2, gt=0),
    "many digits": decimal(max_digits=20, decimal_places=10),
    "between": decimal(gt=0, lt=1),
    "from to": decimal(ge=0, le=100, decimal_places=2),
    "multiple": decimal(multiple_of=Decimal("0.05"), gt=0),
    "finite": pydantic.FiniteFloat,
    "finite and positive": Annotated[float, Field(gt=0, allow_inf_nan=False)],
    "complex": complex,
    "bytes counted": pydantic.ByteSize,
    "fraction": fractions.Fraction,
    "fraction between": Annotated[fractions.Fraction, Field(ge=0, le=1)],
}
DAYS: dict[str, Any] = {
    "date": date,
    "datetime": datetime,
    "time": time,
    "naive": pydantic.NaiveDatetime,
    "aware": pydantic.AwareDatetime,
    "past": pydantic.PastDate,
    "future": pydantic.FutureDate,
    "past datetime": pydantic.PastDatetime,
    "future datetime": pydantic.FutureDatetime,
    "days of a year": Annotated[date, Field(ge=date(2024, 2, 1), le=date(2024, 12, 31))],
    "three days": Annotated[date, Field(gt=date(2024, 2, 28), lt=date(2024, 3, 3))],
    "since": Annotated[datetime, Field(ge=datetime(2024, 2, 1))],
    "aware bounds": Annotated[
        datetime, Field(ge=datetime(2024, 2, 1, tzinfo=UTC), le=datetime(2025, 2, 1, tzinfo=UTC))
    ],
    "naive until": Annotated[pydantic.NaiveDatetime, Field(le=datetime(2025, 2, 1))],
    "office hours": Annotated[time, Field(ge=time(8, 30), lt=time(17))],
    "timedelta": timedelta,
    "bounded timedelta": Annotated[timedelta, Field(ge=timedelta(hours=1), lt=timedelta(days=2))],
    "positive timedelta": Annotated[timedelta, Field(gt=timedelta(0))],
    "negative timedelta": Annotated[timedelta, Field(lt=timedelta(minutes=-1))],
}
KEYS: dict[str, Any] = {
    "integers": int,
    "positive integers": pydantic.PositiveInt,
    "bounded integers": Annotated[int, Field(ge=-15, lt=120)],
    "integer enum": Number,
    "enum": Colour,
    "literals": Literal["a.b", "c"],
    "UUIDs": uuid.UUID,
    "UUIDs of a version": pydantic.UUID4,
    "pattern": Annotated[str, Field(pattern="^[a-z]{1,2}$")],
    "lengths": Annotated[str, Field(min_length=2, max_length=4)],
    "dates": date,
    "datetimes": datetime,
    "times": time,
    "timedeltas": timedelta,
    "numbers": float,
    "decimals": Decimal,
    "booleans": bool,
    "unions": int | Colour,
    "URLs": pydantic.HttpUrl,
    "positive numbers": pydantic.PositiveFloat,
    "numbers between": Annotated[float, Field(gt=-1, le=2.5)],
    "amounts": decimal(max_digits=4, decimal_places=2, gt=0),
    "multiples": Annotated[int, Field(multiple_of=5)],
    "bounded multiples": Annotated[int, Field(multiple_of=5, gt=7, le=20)],
    "fractions": fractions.Fraction,
    "complex numbers": complex,
    "bytes counted": pydantic.ByteSize,
    "amounts of a few": Amount,
    "numbers or nothing": int | None,
    "stripped": Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)],
    "stripped and short": Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=2, max_length=3)
    ],
    "pattern and a longest length": Annotated[str, Field(pattern="^[a-z]+$", max_length=3)],
    "pattern with a sign at its end": Annotated[str, Field(pattern=r"^[a-z]\$")],
    "addresses": ipaddress.IPv4Address,
}
MAPPINGS: dict[str, Any] = {
    **{
        f"{name} as keys": Annotated[dict[kind, bool], Field(min_length=1)]  # type: ignore[valid-type]
        for name, kind in KEYS.items()
    },
    "decimals as values": dict[str, Decimal],
    "nested": dict[pydantic.PositiveInt, dict[Colour, Decimal]],
    "few": Annotated[dict[int, bool], Field(min_length=1, max_length=2)],
    "abstract": Mapping[int, bool],
    "defaultdict": collections.defaultdict[int, bool],
    "OrderedDict": collections.OrderedDict[int, bool],
    "Counter": collections.Counter[Colour],
}
SETS: dict[str, Any] = {
    "set": set[int],
    "set of anything": set,
    "frozenset": frozenset[str],
    "set of literals": set[Literal["a", "b", "c"]],
    "set of enums": set[Colour],
    "set of one or two": Annotated[set[int], Field(min_length=1, max_length=2)],
    "tuple": tuple[int, Decimal],
    "deque": collections.deque[Decimal],
    "sequence": Sequence[Decimal],
    "iterable": Iterable[int],
}
TEXTS: dict[str, Any] = {
    "literals": Literal["a", 1, True, None],
    "enum of which some is read": Amount,
    "literals of which some are read": Literal["a", Colour.blue, b"c"],
    "integer enum": Number,
    "enum": Colour,
    "bytes": bytes,
    "a few bytes": Annotated[bytes, Field(min_length=1, max_length=3)],
    "path": Path,
    "secret": pydantic.SecretStr,
    "secret bytes": pydantic.SecretBytes,
    "base64": pydantic.Base64Str,
    "base64 bytes": pydantic.Base64Bytes,
    "base64 for addresses": pydantic.Base64UrlStr,
    "base64 bytes for addresses": pydantic.Base64UrlBytes,
    "pattern": re.Pattern[str],
    "stripped": Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=6)
    ],
    **{f"UUID{n}": getattr(pydantic, f"UUID{n}") for n in (1, 3, 4, 5, 6, 7, 8)},
    **{
        name: getattr(ipaddress, name)
        for name in dir(ipaddress)
        if re.fullmatch("IPv[46](Address|Network|Interface)", name)
    },
    **{f"IPvAny{kind}": getattr(pydantic, f"IPvAny{kind}") for kind in ("Address", "Network")},
    "IPvAnyInterface": pydantic.IPvAnyInterface,
    **{name: getattr(pydantic, name) for name in dir(pydantic) if name.endswith(("Url", "Dsn"))},
}
CLASSES: dict[str, Any] = {
    "class": Price,
    "classes": list[Price],
    "optional class": Price | None,
    "dataclass": Trip,
    "named tuple": Point,
    "union": Decimal | date,
}
KINDS = {
    f"{room}: {name}": kind
    for room, kinds in {
        "numbers": NUMBERS,
        "days": DAYS,
        "mappings": MAPPINGS,
        "sets": SETS,
        "texts": TEXTS,
        "classes": CLASSES,
    }.items()
    for name, kind in kinds.items()
}


@pytest.mark.parametrize("strict", [False, True], ids=["lax", "strict"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_class_takes_what_its_schema_lets_through(kind: Any, strict: bool) -> None:
    found = create_model("Found", __config__=ConfigDict(strict=strict), x=(kind, ...))
    for text in sampled(class_schema(found), count=4):
        found.model_validate_json(json.dumps(json.loads(text)))


def test_objects_hold_nothing_that_their_class_does_not_list() -> None:
    class Ledger(BaseModel):
        entries: dict[int, bool]

    for text in sampled(class_schema(Ledger), count=5):
        assert json.loads(text).keys() == {"entries"}


class Settings(BaseModel):
    model_config = ConfigDict(
        str_strip_whitespace=True, str_min_length=1, allow_inf_nan=False, val_json_bytes="base64"
    )
    name: str
    code: Annotated[str, Field(pattern=r"^.{2,3}$")]
    share: float
    data: Annotated[bytes, Field(min_length=2, max_length=6)]


class Raw(BaseModel):
    model_config = ConfigDict(val_json_bytes="hex")
    data: Annotated[bytes, Field(min_length=2, max_length=4)]


@pytest.mark.parametrize("cls", [Settings, Raw])
def test_what_a_class_is_configured_to_ask_is_asked(cls: type[BaseModel]) -> None:
    for text in sampled(class_schema(cls), count=12):
        cls.model_validate_json(text)
    assert "E" not in json.dumps(class_schema(cls)["properties"].get("share", {}))


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: Annotated[int, Field(ge=1, le=9)]


class Dog(BaseModel):
    kind: Literal["dog", "puppy"] = Field("dog", alias="@kind")
    tail: bool = True


class Basket(BaseModel):
    kind: Literal["basket"] = "basket"
    holds: "Pet | None" = None


class Lead(BaseModel):
    kind: Literal["lead"] = "lead"
    on: Annotated[Cat | Basket, Field(discriminator="kind")]


Pet = Annotated[Cat | Basket | Lead, Field(discriminator="kind")]
Basket.model_rebuild()


def tag_of(value: Any) -> str:
    return str(value.get("kind", value.get("@kind")) if isinstance(value, dict) else value.kind)


Told = Annotated[Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")], Discriminator(tag_of)]


class Stray(BaseModel):
    kind: Literal["stray"] = Field("stray", alias="@kind")


Aliased = Annotated[Dog | Stray, Field(discriminator="kind")]


@pytest.mark.parametrize(
    "kind",
    [Pet, Lead, Pet | None, list[Pet], dict[str, Pet], Aliased],
    ids=["tagged", "in one", "optional", "list", "mapping", "by alias"],
)
def test_what_is_chosen_by_a_tag_always_says_it_though_it_has_a_default(kind: Any) -> None:
    cls = create_model("Chosen", x=(kind, ...))
    for text in sampled(class_schema(cls), count=6):
        cls.model_validate_json(text)


def test_so_does_what_a_function_chooses_by() -> None:
    schema = class_schema(create_model("Chosen", x=(Told, ...)))
    assert schema["$defs"]["Cat"]["required"] == ["lives", "kind"]


def test_what_no_json_is_read_as_is_refused() -> None:
    days = enum.Enum("days", {"first": date(2026, 1, 1)})
    either = list[Literal[b"a"] | type[int]]
    for kind in (days, Literal[Colour.blue], type[int], either, zoneinfo.ZoneInfo):
        told = r"of which none|a class|of nothing|a time zone"
        with pytest.raises(PydanticInvalidForJsonSchema, match=told):
            class_schema(create_model("Odd", x=(kind, ...)))


def test_mappings_whose_keys_are_no_texts_are_refused() -> None:
    texts = dict[Annotated[date, Field(ge=date(2026, 1, 1))], bool]  # no pattern tells them
    for kind in (dict[tuple[int, int], bool], dict[Literal[1, 2], bool], dict[None, bool], texts):
        with pytest.raises(PydanticInvalidForJsonSchema, match="keys are no texts"):
            class_schema(RootModel[kind])  # type: ignore[valid-type]


def test_classes_are_read_by_the_names_that_they_take() -> None:
    class Found(BaseModel):
        model_config = ConfigDict(validate_by_name=True, validate_by_alias=False)
        count: int = Field(alias="number")

    for text in sampled(class_schema(Found), count=2):
        Found.model_validate_json(text)


class Deep(BaseModel):
    a: int = Field(validation_alias=AliasPath("aa", "b"))


@pydantic.dataclasses.dataclass
class DeepData:
    a: int = Field(validation_alias=AliasPath("aa", "b"))


@pytest.mark.parametrize(
    "alias", [AliasPath("aa", "b"), AliasPath("aa"), AliasChoices(AliasPath("aa", 0))]
)
def test_a_field_that_is_read_from_a_path_alone_is_refused_by_name(alias: Any) -> None:
    cls = create_model("Deeper", a=(int, Field(validation_alias=alias)))
    with pytest.raises(SchemaError, match=r"Deeper reads 'a' from the path 'aa"):
        class_schema(cls)


@pytest.mark.parametrize("kind", [Deep, list[Deep], DeepData, dict[str, Deep | None]])
def test_so_is_one_of_a_class_within(kind: Any) -> None:
    with pytest.raises(SchemaError, match=r"Deep(Data)? reads 'a' from the path 'aa\.b'"):
        class_schema(create_model("Outer", inner=(kind, ...)))


@pytest.mark.parametrize("by", ["validate_by_name", "populate_by_name"])
def test_a_field_that_has_a_name_beside_its_path_is_read_by_it(by: str) -> None:
    alias = AliasPath("aa", "b")
    named = create_model(
        "Named", a=(int, Field(validation_alias=alias)), __config__=ConfigDict(**{by: True})
    )
    chosen = create_model("Chosen", a=(int, Field(validation_alias=AliasChoices(alias, "c"))))
    for cls, name in ((named, "a"), (chosen, "c")):
        assert list(class_schema(cls)["properties"]) == [name]
        assert cls.model_validate({name: 3}).a == 3


def test_a_default_is_no_schema_whatever_it_looks_like() -> None:
    default = {"type": "object", "properties": {}}
    kinds: dict[str, Any] = {"counts": (dict[int, int], {}), "form": (dict[str, Any], default)}
    schema = class_schema(create_model("Form", **kinds))
    assert schema["additionalProperties"] is False
    assert schema["properties"]["form"]["default"] == default


def test_shared_classes_are_written_once() -> None:
    class Bill(BaseModel):
        first: Price
        second: Price

    schema = class_schema(Bill)
    assert schema["properties"]["first"] == schema["properties"]["second"]
    assert list(schema["$defs"]) == ["Price"]


DATES = st.dates(date(1000, 1, 1))


@given(DATES, DATES, DATES)
def test_a_pattern_of_days_is_that_of_all_between_two_and_of_no_other(
    one: date, other: date, day: date
) -> None:
    low, high = sorted([one, other])
    for each in (low, high, day):
        is_matched = re.match(dates_between(low, high), each.isoformat()) is not None
        assert is_matched == (low <= each <= high)


WHOLE = st.integers(-2000, 2000)


@given(WHOLE, WHOLE, WHOLE)
def test_a_pattern_of_whole_numbers_is_that_of_all_between_two_and_of_no_other(
    one: int, other: int, number: int
) -> None:
    low, high = sorted([one, other])
    for each in (low, high, number):
        is_matched = re.fullmatch(whole_numbers(low, high), str(each)) is not None
        assert is_matched == (low <= each <= high)
