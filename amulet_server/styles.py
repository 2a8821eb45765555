"""What a call may name instead of saying it: traits, styles, and the models that stand for styles.

``concise +, formal -`` are traits, each with how much of it, ``brief`` is a style, and
``pocket@brief`` a model's name with that of a style. A text that is made of such names alone means
what they stand for; any other is how an answer is wanted in words.

Knows names and what they stand for. Doesn't know requests, users or stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product, takewhile

from amulet_server.config import ServerSettings, StyleSettings
from langchain_amulet.errors import ConfigurationError, PreferenceError
from langchain_amulet.methods import METHODS, STRENGTHS, Amulet, Method, as_method
from langchain_amulet.methods.spec import is_strength, read_strength
from langchain_amulet.preferences import PRESETS, Preference, Trait
from langchain_amulet.preferences.preference import have_strengths
from langchain_amulet.preferences.traits import (
    LEVELS,
    LONGEST_NAME,
    means_traits,
    name_before_signs,
    read_levels,
    remedy_for,
)
from langchain_amulet.validation.wording import choose, nearest, quoted

LIKE = 0.8
"""How like a name a word must be to be taken for it, where it may be a word as well."""

MOST_NAMES = 100
"""How many names a text may be made of."""

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


def together(styles: Iterable[NamedStyle]) -> NamedStyle:
    """All that several styles prefer, and the first method among them."""
    each = tuple(styles)
    preference = tuple(one for style in each for one in style.preference)
    return NamedStyle(preference, next((style.method for style in each if style.method), None))


@dataclass(frozen=True)
class StyleRegistry:
    """All names that calls may use.

    Attributes:
        model: The model's name.
        traits: Traits by their names in lower case.
        methods: Names of methods that calls may ask for.
        styles: Styles by their names.
    """

    model: str
    traits: Mapping[str, Trait]
    methods: tuple[str, ...]
    styles: Mapping[str, NamedStyle] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: ServerSettings) -> StyleRegistry:
        """The names that a server's settings give.

        Raises:
            ConfigurationError: There is no such method, a style names no trait, its method can't
                work, or that is a strength of nothing.
            PreferenceError: A trait or a style is no preference.
        """
        for name in settings.methods:
            if name not in METHODS:
                raise ConfigurationError(
                    f"What methods names must be registered, but {name!r} isn't: "
                    f"{choose(name, METHODS)} some of {', '.join(METHODS)}."
                )
        traits = {name.casefold(): trait for name, trait in settings.traits.items()}
        plain = cls(settings.model_name, traits, settings.methods)
        plain._at(product(traits, LEVELS))  # what is wrong with a trait is found now
        levels: dict[str, Mapping[str, int]]
        levels = {name: {name.casefold(): 1} for name in settings.traits}
        if settings.styles is None:
            levels |= {
                name: each
                for name, each in PRESETS.items()
                if name not in traits and each.keys() <= traits.keys()
            }
        styles = {name: NamedStyle(plain._at(each.items())) for name, each in levels.items()}
        for name, style in (settings.styles or {}).items():
            styles[name] = plain._made(name, style)
        return cls(settings.model_name, traits, settings.methods, styles)

    def _at(self, levels: Iterable[tuple[str, int]]) -> tuple[Preference, ...]:
        """Preferences for traits at levels."""
        found = (self.traits[name].at(level) for name, level in levels)
        return tuple(Preference(text, strength=strength) for text, strength in found)

    def _made(self, name: str, style: StyleSettings) -> NamedStyle:
        preference = self._preferences_of(name, style.traits, style.preference)
        if style.method is None:
            return NamedStyle(preference)
        check_strength_is_used(style.method, preference, f"the method of the style {name!r}")
        return NamedStyle(preference, as_method(style.method))

    def _preferences_of(
        self, name: str, traits: str | None, preference: str | None
    ) -> tuple[Preference, ...]:
        if traits is None:
            if preference is not None and self.named(preference) is not None:
                raise ConfigurationError(
                    f"The style {name!r} must say in words what is preferred, but its text is made "
                    "of traits: give it as the style's traits, or say it in words."
                )
            return (Preference(preference),)
        levels = read_levels(traits, self.traits)
        if levels is None:
            raise ConfigurationError(
                f"The style {name!r} must be made of traits, which are {', '.join(self.traits)}, "
                f"with +, ++, - or -- behind each: {remedy_for(traits, self.traits)}, or say what "
                "is wanted by preference."
            )
        return self._at(levels)

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

    def wanted(self, text: str) -> NamedStyle:
        """What a text asks for: what it names, if it is made of names alone, else itself.

        Raises:
            PreferenceError: It can't be a preference, or is nearly made of names alone: as words it
                could ask for the contrary.
        """
        if not text.strip():
            return NamedStyle(())
        named = self.named(text)
        if named is not None:
            return named
        self._check_words(text)
        return NamedStyle((Preference(text),))

    def named(self, text: str) -> NamedStyle | None:
        """What the names stand for that a text is made of; None if it is made of anything else."""
        parts = text.split(",", MOST_NAMES)
        named = takewhile(bool, (self._named(part.strip()) for part in parts[:MOST_NAMES]))
        styles = [style for style in named if style is not None]
        return together(styles) if len(styles) == len(parts) else None

    def _check_words(self, text: str) -> None:
        """Refuse words that are meant for names.

        Raises:
            PreferenceError: There is a word with signs behind it, there is nothing but names and
                signs, or all but some that are misspelled are names.
        """
        parts = [part.strip() for part in text.split(",")]
        for part in filter(means_traits, parts):
            style = name_before_signs(part)
            if style in self._folded and style not in self.traits:
                raise PreferenceError(
                    f"A style must stand without a sign, but {style!r} has one: write its name "
                    "alone, or say how much of which traits."
                )
        if means_traits(text, {*self.traits, *self._folded}):
            raise PreferenceError(
                f"Traits with + or - behind them must be {', '.join(self.traits)}, each with +, "
                "++, - or --, with commas between them and nothing but names beside them: "
                f"{remedy_for(text, self.traits)}, or say in a sentence what is wanted, or in "
                "an object's text what are words as they stand."
            )
        self._check_spelling(parts)

    def _check_spelling(self, parts: Sequence[str]) -> None:
        """Refuse a list of names in which some are misspelled."""
        if not 1 < len(parts) <= MOST_NAMES or any(len(each) > LONGEST_NAME for each in parts):
            return
        known = (*self.traits, *self._folded)
        unknown = [part.casefold() for part in parts if self._named(part) is None]
        meant = [nearest(each, known, LIKE) for each in unknown]
        if len(unknown) < len(parts) and all(meant):
            raise PreferenceError(
                "A list of names must be made of those that there are, but one is nearly another: "
                f"did you mean {meant[0]!r}? Use that, or say in a sentence what is wanted."
            )

    def _named(self, part: str) -> NamedStyle | None:
        """The style of a name in any case, or a trait at a level; None if it is none of these."""
        style = self.styles.get(part) or self._folded.get(part.casefold())
        levels = read_levels(part, self.traits) if style is None else None
        return style if levels is None else NamedStyle(self._at(levels))

    @cached_property
    def _folded(self) -> Mapping[str, NamedStyle]:
        return {name.casefold(): style for name, style in self.styles.items()}

    def method(self, value: str | float) -> Method:
        """The method that a call asks for.

        Raises:
            ConfigurationError: There is none of this name that calls may ask for.
        """
        if isinstance(value, str) and read_strength(value) is None:
            allowed = (*self.methods, Amulet.name)  # a strength by itself is Amulet's
            name = value.partition(":")[0].strip()
            if name not in allowed:
                known = list(dict.fromkeys((*allowed, *STRENGTHS)))
                raise ConfigurationError(
                    f"A call's method must be one of {', '.join(known)}, or a number, not "
                    f"{quoted(value)}: {choose(name, known)} one of those, or have the server's "
                    "`methods` allow it."
                )
        return as_method(value)


def check_strength_is_used(
    method: str | float, preference: Sequence[Preference], whose: str
) -> None:
    """Refuse a strength where all that is preferred has one of its own, which counts instead.

    Args:
        method: What is said of a method, which may be no strength.
        preference: What is preferred together with it.
        whose: What to call the method.

    Raises:
        ConfigurationError: It is the strength of nothing.
    """
    if is_strength(method) and have_strengths(preference):
        raise ConfigurationError(
            f"A strength counts for preferences that have none of their own, but all that {whose} "
            "goes with have one, as traits and presets do: leave it out, or say how much by signs, "
            "as in 'concise ++', or give the preference in words."
        )


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
