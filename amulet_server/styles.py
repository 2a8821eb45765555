"""What a call may name instead of saying it: traits, styles, and the models that stand for styles.

``concise +, formal -`` are traits: a preference each, with how much of it. ``pocket@brief`` is a
model's name with a style's.

Knows names and what they stand for. Doesn't know requests, users or stores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from amulet_server.config import ServerSettings
from langchain_amulet.errors import ConfigurationError, PreferenceError
from langchain_amulet.methods import METHODS, Method, as_method
from langchain_amulet.preferences import Preference

TRAIT = re.compile(r"(?P<name>[A-Za-z][\w.-]*?)\s*(?P<degree>\+{1,2}|-{1,2})?")
"""A trait, and how much of it is wanted."""

DEGREED = re.compile(r"[A-Za-z][\w.-]*?\s*[+-]+\s*\d*")
"""What was meant for one, whatever is wrong with it: a word with signs behind it."""

DEGREES: Mapping[str | None, float | str | None] = MappingProxyType(
    {None: None, "+": "balanced", "++": "strong", "-": -2.0, "--": -3.0}
)
"""Strengths of more and less. Below -1 an answer is pushed away, as far as d + 1 says."""

AT = "@"
"""Between a model's name and a style's."""


@dataclass(frozen=True)
class NamedStyle:
    """How answers of a name are wanted.

    Attributes:
        preference: What is preferred.
        method: How it steers; None for the server's method.
    """

    preference: tuple[Preference, ...]
    method: Method | None = None


@dataclass(frozen=True)
class StyleRegistry:
    """All names that calls may use.

    Attributes:
        model: The model's name.
        traits: Preferences in words, by the traits' names in lower case.
        methods: Names of methods that calls may ask for.
        styles: Styles by their names.
    """

    model: str
    traits: Mapping[str, str]
    methods: tuple[str, ...]
    styles: Mapping[str, NamedStyle] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: ServerSettings) -> StyleRegistry:
        """The names that a server's settings give.

        Raises:
            ConfigurationError: There is no such method, a style names no trait, or its method
                can't work.
            PreferenceError: A trait or a style is no preference.
        """
        for name in settings.methods:
            if name not in METHODS:
                raise ConfigurationError(
                    f"What methods names must be registered, but {name!r} isn't: use some of "
                    f"{', '.join(METHODS)}."
                )
        traits = {name.casefold(): text for name, text in settings.traits.items()}
        plain = cls(settings.model_name, traits, settings.methods)
        styles = {name: NamedStyle((Preference(text),)) for name, text in settings.traits.items()}
        for name, style in settings.styles.items():
            method = None if style.method is None else as_method(style.method)
            styles[name] = NamedStyle(
                plain._preferences_of(name, style.traits, style.preference), method
            )
        return cls(settings.model_name, traits, settings.methods, styles)

    def _preferences_of(
        self, name: str, traits: str | None, preference: str | None
    ) -> tuple[Preference, ...]:
        if traits is None:
            return (Preference(preference),)
        found = self.from_traits(traits)
        if found is None:
            raise ConfigurationError(
                f"The style {name!r} must be made of traits, which are {', '.join(self.traits)}, "
                "with +, ++, - or -- behind each: mend it, or say what is wanted by preference."
            )
        return found

    @property
    def models(self) -> tuple[str, ...]:
        """Names of models that calls may ask for: the model's, and one for each style."""
        return (self.model, *(f"{self.model}{AT}{style}" for style in self.styles))

    def style_of(self, model: str) -> NamedStyle | None:
        """The style that a model's name stands for; None if it is the model by itself.

        Raises:
            KeyError: There is no such model.
        """
        name, at, style = model.partition(AT)
        if name != self.model or (at and style not in self.styles):
            raise KeyError(model)
        return self.styles[style] if at else None

    def preferences(self, text: str) -> tuple[Preference, ...]:
        """What a text asks for: traits if it is made of nothing else, else itself; none if empty.

        Raises:
            PreferenceError: It can't be a preference, or parts of it are meant for traits and not
                all of it is: as a preference it could ask for the contrary.
        """
        if not text.strip():
            return ()
        traits = self.from_traits(text)
        if traits is None and any(DEGREED.fullmatch(part.strip()) for part in text.split(",")):
            raise PreferenceError(
                f"Traits with + or - behind them must be {', '.join(self.traits)}, each with +, "
                "++, - or --, with commas between them and nothing beside them: mend them, or say "
                "in a sentence what is wanted."
            )
        return (Preference(text),) if traits is None else traits

    def from_traits(self, text: str) -> tuple[Preference, ...] | None:
        """Preferences for traits with a degree each; None if the text is something else."""
        found = [TRAIT.fullmatch(part.strip()) for part in text.split(",")]
        names = [match["name"].casefold() if match else "" for match in found]
        if not all(name in self.traits for name in names):
            return None
        return tuple(
            Preference(text=self.traits[name], strength=DEGREES[match["degree"]])
            for name, match in zip(names, found, strict=True)
            if match
        )

    def method(self, value: str | float) -> Method:
        """The method that a call asks for.

        Raises:
            ConfigurationError: There is none of this name that calls may ask for.
        """
        name = value.partition(":")[0].strip() if isinstance(value, str) else "amulet"
        method = as_method(value)
        # A number or a strength's name is Amulet's, whatever the call's text begins with.
        if method.name not in self.methods and method.name != "amulet":
            raise ConfigurationError(
                f"A call may ask for the methods {', '.join(self.methods)}, a strength's name or a "
                f"number, not for {name!r}: use one of those, or have the server's `methods` "
                "allow it."
            )
        return method


def negated(text: str, scale: float) -> Preference:
    """A negative prompt as a preference that answers are pushed away from.

    Classifier-free guidance at a scale adds ``scale - 1`` times what the negative prompt takes
    away, which is a preference's ``1 + strength`` with the sign turned.

    Raises:
        PreferenceError: The scale is below 1, and would push towards it.
    """
    if scale < 1.0:
        raise PreferenceError(
            f"With a negative prompt the guidance scale must be at least 1, not {scale}: below 1 "
            "the answer would be moved towards it."
        )
    return Preference(text=text, strength=-scale)
