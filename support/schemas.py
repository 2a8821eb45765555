"""JSON schemas that exercise the common keywords, each with a name to fail under."""

from typing import Any

Schema = dict[str, Any]


def obj(required: list[str] | None = None, /, **properties: Any) -> Schema:
    """An object with these properties; all of them required unless said."""
    wanted = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": wanted}


def listed(items: Schema, **bounds: Any) -> Schema:
    return {"type": "array", "items": items, **bounds}


def one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}
SHORT: Schema = {"type": "string", "maxLength": 12}

SCALARS = {
    "string": obj(a=STRING),
    "integer": obj(a=INTEGER),
    "number": obj(a=NUMBER),
    "boolean": obj(a=BOOLEAN),
    "null": obj(a=NULL),
    "several types": obj(a={"type": ["string", "integer", "null"]}),
    "anything": obj(a={}),
    "bare string": STRING,
    "bare integer": INTEGER,
    "bare array": listed(INTEGER, maxItems=4),
}
NUMBERS = {
    "minimum": obj(a={"type": "integer", "minimum": 18}),
    "maximum": obj(a={"type": "integer", "maximum": -3}),
    "64 bits": obj(
        a={"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        b={"type": "number", "minimum": -1e300, "exclusiveMaximum": 1e300},
    ),
    "both bounds": obj(a={"type": "integer", "minimum": 1, "maximum": 1000}),
    "exclusive bounds": obj(a={"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10}),
    "real bounds": obj(a={"type": "number", "minimum": -1.5, "maximum": 2.25}),
    "exclusive real bounds": obj(
        a={"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    ),
    "multiple of a fraction": obj(
        a={"type": "number", "multipleOf": 0.25, "minimum": 0, "maximum": 3}
    ),
    "multiple between": obj(
        a={"type": "integer", "multipleOf": 3, "exclusiveMinimum": 3, "exclusiveMaximum": 12}
    ),
    "narrow": obj(a={"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 0.2}),
    "one number only": obj(a={"type": "integer", "minimum": 7, "maximum": 7}),
    "multiple of": obj(a={"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100}),
}
STRINGS = {
    "min length": obj(a={"type": "string", "minLength": 5}),
    "max length": obj(a={"type": "string", "maxLength": 5}),
    "both lengths": obj(a={"type": "string", "minLength": 2, "maxLength": 8}),
    "empty": obj(a={"type": "string", "maxLength": 0}),
    "pattern": obj(a={"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"}),
    "open pattern": obj(a={"type": "string", "pattern": "^[a-z]+$"}),
    "alternatives in a pattern": obj(a={"type": "string", "pattern": "^(cat|dog|b[aio]rd)s?$"}),
    "pattern within": obj(a={"type": "string", "pattern": "@"}),
    "pattern of some length": obj(
        a={"type": "string", "pattern": "^[a-z]+$", "minLength": 3, "maxLength": 5}
    ),
    "non-ASCII pattern": obj(a={"type": "string", "pattern": "^[äöü]{2,3}$"}),
    "date": obj(a={"type": "string", "format": "date"}),
    "time": obj(a={"type": "string", "format": "time"}),
    "date and time": obj(a={"type": "string", "format": "date-time"}),
    "duration": obj(a={"type": "string", "format": "duration"}),
    "date in a union": {"anyOf": [obj(a={"type": "string", "format": "date"}), NULL]},
    "any string": obj(a={"type": "string", "format": "password", "maxLength": 9}),
    "email": obj(a={"type": "string", "format": "email"}),
    "uuid": obj(a={"type": "string", "format": "uuid"}),
    "ipv4": obj(a={"type": "string", "format": "ipv4"}),
    "ipv6": obj(a={"type": "string", "format": "ipv6"}),
    "uri": obj(a={"type": "string", "format": "uri"}),
    "hostname": obj(a={"type": "string", "format": "hostname"}),
}
PATTERNS = {
    name: obj(a={"type": "string", "pattern": pattern})
    for name, pattern in {
        "percent": r"^\d+ ?%$",
        "full name": r"^[A-Z][a-z]+ [A-Z][a-z]+$",
        "key and value": r"^.+: .+$",
        "address": r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$",
        "file name": r"^.+\.py$",
        "two words": r"^\w+\s\w+$",
        "telephone": r"^(\+\d{1,2} )?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}$",
        "amount": r"^[0-9]{1,3}(,[0-9]{3})*(\.\d{2})? (EUR|USD)$",
        "version": r"^v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$",
        "link": r"^https?://[^\s/$.?#]+\.[^\s]*$",
        "account": r"^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$",
        "digest": "^[a-f0-9]{64}$",
        "quoted": r'^"[^"]+" \\ [^\\]+$',
        "far from ASCII": "^[ж-щ]+ [β-λ]{2}$",
        "one within others": r"(foo|ba[rz]): \S",
    }.items()
} | {
    "pattern of a length": obj(a={"type": "string", "pattern": "^.+: .+$", "minLength": 20}),
    "two patterns": obj(a={"allOf": [{"type": "string", "pattern": "^a.+$"}, {"pattern": "z$"}]}),
    "pattern or nothing": obj(a={"anyOf": [{"type": "string", "pattern": r"^.+\.py$"}, NULL]}),
    "names with a sign": {
        "type": "object",
        "patternProperties": {"^.+=.+$": INTEGER},
        "additionalProperties": False,
        "minProperties": 1,
    },
}
FORMATS = {
    f"format {name}": obj(a={"type": "string", "format": name})
    for name in (
        "idn-email", "idn-hostname", "iri", "iri-reference", "uri-reference", "uri-template",
        "json-pointer", "relative-json-pointer", "regex", "uuid4", "uuid7", "ipvanyaddress",
        "colour",
    )
}  # fmt: skip
VACUOUS = {
    "items that may be the same": obj(a=listed(one_of("x", "y"), uniqueItems=False)),
    "one item is unlike no other": obj(a=listed(INTEGER, uniqueItems=True, maxItems=1)),
    "names are texts": {**obj([], a=INTEGER), "propertyNames": STRING},
    "never or text": obj(a={"anyOf": [{"not": {}}, SHORT]}),
    "anything but nothing": obj(a={"not": False, "type": "boolean"}),
    "required only": obj(["a", "b"], a=INTEGER),
    "required and of a type": {**obj(["a", "b"], a=INTEGER), "additionalProperties": SHORT},
    "condition of nothing": {**obj(a=INTEGER), "if": {"required": ["a"]}},
    "nothing contained": obj(a=listed(INTEGER, contains={"const": 5}, minContains=0)),
    "nothing depends": {**obj([], a=INTEGER), "dependentRequired": {"a": []}},
    "properties called as keywords are": obj(
        uniqueItems=BOOLEAN, format=SHORT, required=INTEGER, const=NULL, enum=obj(a=SHORT)
    ),
}
OPENAPI = {
    "components": {
        **obj(pet={"$ref": "#/components/schemas/Pet"}),
        "components": {
            "schemas": {
                "Pet": obj(name=SHORT, owner={"$ref": "#/components/schemas/Owner"}),
                "Owner": obj([], pet={"$ref": "#/components/schemas/Pet"}),
            }
        },
    },
    "parts of components": {
        **obj(pet={"$ref": "#/components/schemas/Cat"}),
        "components": {
            "schemas": {
                "Pet": obj(kind=SHORT),
                "Cat": {"allOf": [{"$ref": "#/components/schemas/Pet"}, obj([], lives=INTEGER)]},
            }
        },
    },
    "remarks in a circle": {
        **obj(a={"$ref": "#/$defs/list"}),
        "$defs": {
            "list": obj(
                next={
                    "anyOf": [{"$ref": "#/$defs/list"}, NULL],
                    "nullable": True,
                    "discriminator": {"propertyName": "kind"},
                    "deprecated": True,
                    "x-order": 1,
                }
            )
        },
    },
    "counts with a point": obj(
        a=listed(INTEGER, minItems=1.0, maxItems=2.0), b={"type": "string", "maxLength": 3.0}
    ),
}
REWRITTEN = {
    "names of a class and a longest length": {
        "type": "object",
        "propertyNames": {"pattern": "^[a-z]+$", "maxLength": 3},
        "additionalProperties": INTEGER,
        "minProperties": 1,
    },
    "different items": obj(a=listed(one_of("x", "y", "z"), uniqueItems=True, minItems=1)),
    "different digits": obj(
        a=listed({"type": "integer", "minimum": 0, "maximum": 9}, uniqueItems=True, minItems=3)
    ),
    "different items or none": obj(
        a={"type": ["array", "null"], "items": BOOLEAN, "uniqueItems": True}
    ),
    "dependent property": {**obj([], a=INTEGER, b=INTEGER), "dependentRequired": {"a": ["b"]}},
    "old dependency": {**obj([], a=INTEGER, b=SHORT, c=NULL), "dependencies": {"a": ["b", "c"]}},
    "dependent schema": {
        **obj([], a=INTEGER),
        "dependentSchemas": {"a": obj(b={"type": "string", "maxLength": 4})},
    },
    "names by a pattern": {
        "type": "object",
        "propertyNames": {"pattern": "^x[a-z]{1,3}$"},
        "additionalProperties": INTEGER,
    },
    "short names": {"type": "object", "propertyNames": {"minLength": 2, "maxLength": 4}},
    "names of a list": {
        "type": "object",
        "propertyNames": one_of("one", "two"),
        "additionalProperties": BOOLEAN,
    },
    "either is required": {
        **obj([], a=INTEGER, b=INTEGER),
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "references told apart": {
        **obj(a={"oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}]}),
        "$defs": {
            "cat": obj(kind={"const": "cat"}, lives=INTEGER),
            "dog": obj(kind={"enum": ["dog", "puppy"]}, tail=BOOLEAN),
        },
    },
    "one of ranges": obj(
        a={"oneOf": [{"type": "integer", "maximum": 3}, {"type": "integer", "minimum": 5}]}
    ),
    "one of forms": obj(
        a={"oneOf": [{"enum": ["", "-"]}, {"type": "string", "pattern": "^[a-z]"}]}
    ),
    "one of what speaks of constants": {
        **obj(["kind"], kind={"type": "string"}),
        "oneOf": [
            {"properties": {"kind": {"enum": ["a", "b"]}, "size": INTEGER}},
            {"properties": {"kind": {"pattern": "^c$"}, "size": SHORT}},
        ],
    },
    "one of what may be told apart": {
        "type": "object",
        "oneOf": [
            {"properties": {"kind": {"const": "a"}, "x": INTEGER}},
            {"properties": {"kind": {"const": "b"}, "x": SHORT}},
            {"allOf": [{"properties": {"kind": {"const": "c"}}}, {"required": ["x"]}]},
        ],
    },
    "one of lists": obj(a={"oneOf": [listed(INTEGER), listed(BOOLEAN), {"type": "null"}]}),
    "one of lists of some values": obj(
        a={"oneOf": [listed(one_of("x", "y"), maxItems=3), listed(one_of("y", "z"), maxItems=3)]}
    ),
    "one of overlapping values": obj(a={"oneOf": [one_of("x", "y"), one_of("y", "z")]}),
    "one of objects without a type": {
        "oneOf": [
            {"properties": {"a": INTEGER}, "required": ["a"]},
            {"properties": {"b": SHORT}, "additionalProperties": False},
        ]
    },
    "one of ranges of a type": obj(
        a={"type": "integer", "oneOf": [{"minimum": -1, "maximum": -1}, {"minimum": 50}]}
    ),
    "not a number": obj(a={"not": {"type": "number"}}),
    "not those": obj(a={**one_of("x", "y", "z"), "not": {"enum": ["x", "y"]}}),
    "not both": {**obj([], a=INTEGER, b=INTEGER, c=SHORT), "not": {"required": ["a", "b"]}},
    "not with that": {**obj([], a=INTEGER, b=INTEGER), "not": {"anyOf": [{"required": ["b"]}]}},
    "different values of a union": obj(
        a=listed({"oneOf": [{"const": "x", "title": "X"}, {"const": 1}]}, uniqueItems=True)
    ),
    "different values of a type": obj(
        a=listed({"type": "string", "enum": ["x", 1, None, "y"]}, uniqueItems=True)
    ),
    "one property at least": {
        **obj([], a=INTEGER, b=INTEGER),
        "minProperties": 1,
        "additionalProperties": True,
    },
    "two properties of three": {
        **obj(["a"], a=INTEGER, b=INTEGER, c=INTEGER),
        "minProperties": 2,
        "maxProperties": 2,
    },
    "no more properties than there are": {**obj([], a=INTEGER, b=SHORT), "maxProperties": 2},
    "names of a class and a length": {
        "type": "object",
        "propertyNames": {"pattern": "^[a-z_]+$", "minLength": 2, "maxLength": 4},
        "additionalProperties": INTEGER,
    },
    "one of requirements": {"oneOf": [obj(["a"], a=INTEGER, b=SHORT), obj(b=SHORT)]},
}
CHOICES = {
    "enum of strings": obj(a={"enum": ["red", "green", "blue"]}),
    "typed enum": obj(a={"type": "string", "enum": ["red", "dark red", "red wine"]}),
    "enum of anything": obj(a={"enum": [1, "1", None, True, [1], {"b": 2}]}),
    "non-ASCII enum": obj(a={"enum": ["Größe", "你好", "🙂"]}),
    "const": obj(a={"const": "fixed"}),
    "const object": obj(a={"const": {"b": [1, 2]}}),
    "any of scalars": obj(a={"anyOf": [INTEGER, BOOLEAN, SHORT]}),
    "any of objects": {"anyOf": [obj(a=INTEGER), obj(b=SHORT)]},
    "optional by any of": obj(a={"anyOf": [STRING, NULL]}),
    "one of": obj(a={"oneOf": [INTEGER, SHORT]}),
    "one of objects": {"oneOf": [obj(a=INTEGER), obj(b=SHORT)]},
    "all of numbers": obj(a={"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 50}]}),
    "object or null": {"type": ["object", "null"], "properties": {"a": INTEGER}, "required": ["a"]},
    "all of": {"allOf": [obj(a=INTEGER), obj(b=SHORT)]},
    "tagged union": obj(
        a={
            "anyOf": [
                obj(kind={"const": "circle"}, radius=NUMBER),
                obj(kind={"const": "square"}, side=NUMBER),
            ]
        }
    ),
}
ARRAYS = {
    "array": obj(a=listed(INTEGER)),
    "min items": obj(a=listed(SHORT, minItems=2)),
    "max items": obj(a=listed(SHORT, maxItems=3)),
    "fixed length": obj(a=listed(BOOLEAN, minItems=3, maxItems=3)),
    "empty array": obj(a=listed(INTEGER, maxItems=0)),
    "tuple": obj(
        a={"type": "array", "prefixItems": [INTEGER, SHORT], "items": False, "minItems": 2}
    ),
    "array of arrays": obj(a=listed(listed(INTEGER, maxItems=2), maxItems=3)),
    "array of objects": obj(a=listed(obj(b=INTEGER, c=SHORT), minItems=1, maxItems=3)),
    "array of enums": obj(a=listed({"enum": ["x", "y"]}, maxItems=5)),
}
OBJECTS = {
    "no properties": obj(),
    "two properties": obj(a=INTEGER, b=STRING),
    "optional property": obj(["a"], a=INTEGER, b=STRING),
    "all optional": obj([], a=INTEGER, b=SHORT, c=BOOLEAN),
    "nested": obj(a=obj(b=obj(c=obj(d=INTEGER)))),
    "nested optional": obj(["a"], a=obj([], b=INTEGER, c=STRING), d=obj(e=BOOLEAN)),
    "closed": {**obj(a=INTEGER), "additionalProperties": False},
    "open": {**obj(a=INTEGER), "additionalProperties": True},
    "map": {"type": "object", "additionalProperties": INTEGER},
    "small map": {"type": "object", "additionalProperties": INTEGER, "maxProperties": 1},
    "no empty map": {"type": "object", "additionalProperties": SHORT, "minProperties": 1},
    "others of a type": {**obj(a=INTEGER), "additionalProperties": SHORT},
    "some of its properties": {**obj([], a=INTEGER, b=INTEGER), "minProperties": 1},
    "pattern properties": {
        "type": "object",
        "patternProperties": {"^x_": INTEGER},
        "additionalProperties": False,
    },
    "any object": {"type": "object"},
    "quoted names": obj(**{'a "b"': INTEGER, "ü/~": SHORT}),
}
REFERENCES = {
    "definition": {**obj(a={"$ref": "#/$defs/point"}), "$defs": {"point": obj(x=NUMBER, y=NUMBER)}},
    "linked list": {
        **obj(["value"], value=INTEGER, next={"$ref": "#"}),
    },
    "tree": {
        "$ref": "#/$defs/node",
        "$defs": {"node": obj(label=SHORT, children=listed({"$ref": "#/$defs/node"}, maxItems=3))},
    },
    "nullable recursion": {
        "$ref": "#/$defs/node",
        "$defs": {"node": obj(v=BOOLEAN, left={"anyOf": [{"$ref": "#/$defs/node"}, NULL]})},
    },
    "expression": {
        "$ref": "#/$defs/expression",
        "$defs": {
            "expression": {
                "anyOf": [
                    obj(args=listed({"$ref": "#/$defs/expression"}, minItems=2, maxItems=2)),
                    obj(value=INTEGER),
                ]
            }
        },
    },
    "told apart by a constant": {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "oneOf": [
                    obj(
                        kind={"const": "branch"}, parts=listed({"$ref": "#/$defs/node"}, minItems=2)
                    ),
                    obj(kind={"const": "leaf"}, value=INTEGER),
                ]
            }
        },
    },
    "by turns": {
        "$ref": "#/$defs/a",
        "$defs": {
            "a": {"anyOf": [obj(x={"$ref": "#/$defs/b"}), obj(y={"$ref": "#/$defs/b"})]},
            "b": {"anyOf": [obj(p={"$ref": "#/$defs/a"}), obj(q=NULL)]},
        },
    },
    "definitions in definitions": {
        **obj(a={"$ref": "#/definitions/group/one"}),
        "definitions": {
            "group": {"one": {"oneOf": [{"$ref": "#/definitions/group/two"}, NULL]}, "two": SHORT}
        },
    },
    "reference round in a circle with its type": {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": obj(["v"], v=INTEGER, next={"$ref": "#/$defs/node", "type": "object", "x-a": 1})
        },
    },
    "reference with a bound": {
        **obj(a={"$ref": "#/$defs/small", "minimum": 5}),
        "$defs": {"small": {"type": "integer", "maximum": 7}},
    },
    "old definitions": {
        **obj(a={"$ref": "#/definitions/name"}),
        "definitions": {"name": {"type": "string", "minLength": 1, "maxLength": 9}},
    },
}
EMAIL: Schema = {"type": "string", "format": "email"}
DATE: Schema = {"type": "string", "format": "date"}
TIME: Schema = {"type": "string", "format": "date-time"}
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 24}
PRICE: Schema = {"type": "number", "minimum": 0, "maximum": 100000}


REAL_LIFE = {
    "invoice": obj(
        number={"type": "string", "pattern": "^INV-[0-9]{6}$"},
        issued=DATE,
        seller=obj(name=NAME, street=NAME, city=NAME),
        lines=listed(
            obj(article=NAME, quantity={"type": "integer", "minimum": 1}, price=PRICE),
            minItems=4,
            maxItems=20,
        ),
        currency=one_of("EUR", "USD", "GBP", "JPY"),
        paid=BOOLEAN,
    ),
    "calendar": obj(
        events=listed(
            obj(
                ["title", "start", "where"],
                title=NAME,
                start=TIME,
                end=TIME,
                where={"anyOf": [NAME, NULL]},
                guests=listed(EMAIL, maxItems=5),
            ),
            minItems=4,
        )
    ),
    "triage": obj(
        tickets=listed(
            obj(
                category=one_of("billing", "outage", "feature request", "account", "other"),
                urgency={"type": "integer", "minimum": 1, "maximum": 5},
                mood=one_of("calm", "annoyed", "furious"),
                summary={"type": "string", "minLength": 20, "maxLength": 80},
                answer_by={"anyOf": [DATE, NULL]},
            ),
            minItems=4,
        )
    ),
    "recipe": obj(
        title=NAME,
        servings={"type": "integer", "minimum": 1, "maximum": 12},
        ingredients=listed(
            obj(name=NAME, amount=NUMBER, unit=one_of("g", "ml", "piece", "tbsp", "tsp")),
            minItems=4,
        ),
        steps=listed(STRING, minItems=3),
        diets=listed(one_of("vegan", "vegetarian", "gluten-free", "halal", "kosher"), maxItems=3),
    ),
    "search": obj(
        query=STRING,
        where={"$ref": "#/$defs/condition"},
        limit={"type": "integer", "minimum": 1, "maximum": 500},
    )
    | {
        "$defs": {
            "condition": {
                "anyOf": [
                    obj(
                        all={
                            "type": "array",
                            "items": {"$ref": "#/$defs/condition"},
                            "minItems": 2,
                            "maxItems": 4,
                        }
                    ),
                    obj(field=NAME, is_=one_of("<", "<=", "=", ">=", ">", "like"), value=NAME),
                ]
            }
        }
    },
    "curriculum vitae": obj(
        name=NAME,
        email=EMAIL,
        summary=STRING,
        jobs=listed(
            obj(
                ["company", "role", "since"],
                company=NAME,
                role=NAME,
                since=DATE,
                until=DATE,
                skills=listed(NAME, maxItems=6),
            ),
            minItems=3,
        ),
        languages={"type": "object", "additionalProperties": one_of("A1", "A2", "B1", "B2", "C1")},
    ),
    "map": obj(
        type={"const": "FeatureCollection"},
        features=listed(
            obj(
                kind=one_of("shop", "school", "station"),
                name=STRING,
                at=listed(
                    {"type": "number", "minimum": -180, "maximum": 180}, minItems=2, maxItems=2
                ),
                open=BOOLEAN,
            ),
            minItems=5,
        ),
    ),
}
"""Schemas as applications have them, each long enough to decode for a while."""

SCHEMAS: dict[str, Schema] = {
    **SCALARS, **NUMBERS, **STRINGS, **PATTERNS, **FORMATS, **VACUOUS, **OPENAPI, **REWRITTEN,
    **CHOICES, **ARRAYS, **OBJECTS, **REFERENCES, **REAL_LIFE,
}  # fmt: skip

REFUSED: dict[str, Schema] = {
    "unique items": obj(a={"type": "array", "items": INTEGER, "uniqueItems": True}),
    "negation": obj(a={"not": {"type": "string", "pattern": "x"}, "type": "string"}),
    "look-ahead": obj(a={"type": "string", "pattern": "(?=a)b"}),
    "unknown type": obj(a={"type": "colour"}),
    "dangling reference": obj(a={"$ref": "#/$defs/nowhere"}),
    "so many names": {"type": "object", "additionalProperties": SHORT, "minProperties": 2},
    "overlapping alternatives": obj(a={"oneOf": [INTEGER, NUMBER]}),
    "contained item": obj(a=listed(INTEGER, contains={"const": 5})),
    "condition": {**obj(a=INTEGER), "if": {"required": ["a"]}, "then": {"required": ["b"]}},
    "names that aren't some": {"type": "object", "propertyNames": {"not": {"const": "x"}}},
    "one of what may both be": {"oneOf": [obj(a=INTEGER), obj([], c=BOOLEAN)]},
    "different texts": obj(a=listed(STRING, uniqueItems=True)),
    "more different items than there are": obj(a=listed(BOOLEAN, uniqueItems=True, minItems=3)),
    "reference elsewhere": obj(a={"$ref": "https://example.com/schema.json"}),
    "impossible property": obj(a=False),
    "impossible array": obj(a=listed(INTEGER, minItems=2, maxItems=1)),
    "requirement that is none": obj(a={"type": "object", "required": True}),
    "properties that are none": obj(a={"type": "object", "properties": 3}),
    "property that is none": obj(a={"type": "object", "properties": {"b": "text"}}),
    "negative length": obj(a={"type": "string", "maxLength": -1}),
    "contradiction": obj(a={"type": "integer", "minimum": 3, "maximum": 2}),
    "numbers without an end": obj(a={"type": "number", "minimum": 1e30}),
}
"""Schemas that must be refused before anything is decoded."""

ENDLESS: Schema = {"$ref": "#/$defs/a", "$defs": {"a": obj(a={"$ref": "#/$defs/a"})}}
"""No text is long enough for it."""
