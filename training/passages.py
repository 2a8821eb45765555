"""Questions about short passages: reading an invented fact off a text and quoting it exactly."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from training import invent
from training.dialogue import Exchange, Reply, Sample

NOT_SAID = Reply("The text does not say.", "The text does not say.")

_Maker = Callable[[random.Random], str]


@dataclass(frozen=True)
class _Relation:
    """One attribute of a kind of entity.

    In ``frames`` and ``questions``, ``{e}`` is the entity and ``{v}`` the value; a frame that begins
    with ``{e} `` may have a pronoun there.
    """

    value: _Maker
    frames: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True)
class _Kind:
    entity: _Maker
    pronouns: tuple[str, ...]
    relations: tuple[_Relation, ...]


@dataclass(frozen=True)
class _Fact:
    entity: str
    relation: _Relation
    frame: str
    value: str

    def sentence(self) -> str:
        """The fact with the entity named."""
        return _capital(self.frame.replace("{e}", self.entity).replace("{v}", self.value)) + "."

    def question(self, rng: random.Random) -> str:
        """A question whose answer is the value."""
        return _capital(rng.choice(self.relation.questions).replace("{e}", self.entity))

    def reply(self) -> Reply:
        """The value in a sentence, and alone."""
        return Reply(self.sentence(), self.value + ".")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _number(low: int, *highs: int) -> _Maker:
    return lambda rng: str(rng.randint(low, rng.choice(highs)))


def _unit(low: int, high: int, *units: str) -> _Maker:
    return lambda rng: f"{rng.randint(low, high)} {rng.choice(units)}"


def _one_of(text: str) -> _Maker:
    options = tuple(text.split("|"))
    return lambda rng: rng.choice(options)


def _person(rng: random.Random) -> str:
    return invent.accented(rng) if rng.random() < 0.06 else invent.person(rng)


def _town(rng: random.Random) -> str:
    return invent.city(rng) if rng.random() < 0.2 else invent.place(rng)


def _suffixed(*kinds: str) -> _Maker:
    return lambda rng: f"the {invent.capitalised(rng)} {rng.choice(kinds)}"


def _long_number(rng: random.Random) -> str:
    value = rng.randint(100, rng.choice((999, 9999, 99999, 999999)))
    return f"{value:,}" if rng.random() < 0.4 else str(value)


def _metres(rng: random.Random) -> str:
    unit = rng.choice(("metres", "meters", "feet", "m"))
    if rng.random() < 0.3:
        return f"{rng.randint(1, 99)}.{rng.randint(1, 9)} {unit}"
    return f"{rng.randint(2, rng.choice((99, 999, 8999)))} {unit}"


def _colour(rng: random.Random) -> str:
    colour = rng.choice(invent.COLOURS)
    return f"{colour} and {rng.choice(invent.COLOURS)}" if rng.random() < 0.2 else colour


def _age(rng: random.Random) -> str:
    return str(rng.randint(3, 99))


def _opening(rng: random.Random) -> str:
    return rng.choice((invent.time_of_day, invent.time_of_day, invent.date))(rng)


def _room(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return f"room {rng.randint(1, 499)}"
    return f"the {invent.capitalised(rng)} room"


def _two_words(rng: random.Random) -> str:
    return invent.phrase(rng, 1, 3)


_JOBS = _one_of(
    "baker|teacher|pilot|nurse|painter|farmer|lawyer|carpenter|chemist|dentist|singer|plumber|"
    "librarian|engineer|tailor|gardener|judge|sailor|potter|florist|butcher|geologist|astronomer"
)
_FOODS = _one_of(
    "dumplings|lentil soup|fried rice|apple pie|mushroom stew|pancakes|olives|grilled fish|"
    "noodles|cheese|plum cake|tomato salad|roast potatoes|pickles|figs|rye bread|walnuts|carrots"
)
_HOBBIES = _one_of(
    "chess|rowing|knitting|sailing|archery|pottery|birdwatching|cycling|fencing|juggling|"
    "photography|climbing|origami|beekeeping|swimming|the cello|the trumpet|the piano"
)
_MATERIALS = _one_of(
    "copper|oak|glass|steel|bamboo|marble|clay|wool|leather|titanium|cork|linen|brass|paper"
)
_DISHES = _one_of("soup|stew|cake|pie|salad|bread|pudding|curry|sauce|tart")
_SPECIES = _one_of(
    "parrot|terrier|tortoise|goat|rabbit|pony|lizard|owl|hamster|ferret|donkey|kitten|goose|llama"
)
_LANGUAGES = _one_of(
    "Danish|Greek|Polish|Turkish|Hindi|Korean|Welsh|Basque|Swahili|Finnish|Arabic|Spanish|Czech"
)


def _relations(*rows: tuple[_Maker, str, str]) -> tuple[_Relation, ...]:
    return tuple(
        _Relation(value, tuple(frames.split("|")), tuple(questions.split("|")))
        for value, frames, questions in rows
    )


_KINDS: tuple[_Kind, ...] = (
    _Kind(
        _person,
        ("He", "She"),
        _relations(
            (
                _town,
                "{e} lives in {v}|{e} has a home in {v}|The home of {e} is in {v}",
                "Where does {e} live?|In which town does {e} live?|What is the home town of {e}?",
            ),
            (
                _town,
                "{e} was born in {v}|{e} comes from {v}|The birthplace of {e} is {v}",
                "Where was {e} born?|Where does {e} come from?|What is the birthplace of {e}?",
            ),
            (
                invent.date,
                "{e} has a birthday on {v}|{e}'s birthday is {v}|The birthday of {e} is {v}",
                (
                    "When is {e}'s birthday?|What is the birthday of {e}?|"
                    "On what date is {e}'s birthday?"
                ),
            ),
            (
                _age,
                "{e} is {v} years old|{e} is aged {v}|The age of {e} is {v}",
                "How old is {e}?|What is the age of {e}?|What age is {e}?",
            ),
            (
                _JOBS,
                "{e} works as a {v}|The profession of {e} is {v}|{e} makes a living as a {v}",
                "What is {e}'s job?|What does {e} do for a living?|What is the profession of {e}?",
            ),
            (
                invent.company,
                "{e} works at {v}|{e} is employed by {v}|The employer of {e} is {v}",
                "Where does {e} work?|Who employs {e}?|Which company does {e} work for?",
            ),
            (
                _person,
                "{e} is married to {v}|{e}'s spouse is {v}|{e} married {v}",
                "Who is {e} married to?|Who is {e}'s spouse?|Who did {e} marry?",
            ),
            (
                _person,
                "{e} reports to {v}|{e}'s boss is {v}|The manager of {e} is {v}",
                "Who is {e}'s boss?|Who does {e} report to?|Who is the manager of {e}?",
            ),
            (
                _FOODS,
                "{e} loves to eat {v}|{e}'s favourite food is {v}|The favourite food of {e} is {v}",
                (
                    "What is {e}'s favourite food?|What does {e} love to eat?|"
                    "Which food does {e} like most?"
                ),
            ),
            (
                _HOBBIES,
                "{e}'s hobby is {v}|{e} enjoys {v} on weekends|The hobby of {e} is {v}",
                "What is {e}'s hobby?|What does {e} do on weekends?|Which hobby does {e} have?",
            ),
            (
                invent.pet,
                "{e} has a dog called {v}|{e} owns a cat named {v}|The pet of {e} is called {v}",
                (
                    "What is the name of {e}'s pet?|What is {e}'s pet called?|"
                    "Which name does the pet of {e} have?"
                ),
            ),
            (
                _LANGUAGES,
                "{e} speaks {v}|{e} grew up speaking {v}|The native language of {e} is {v}",
                (
                    "Which language does {e} speak?|What language does {e} speak?|"
                    "What is the language of {e}?"
                ),
            ),
            (
                invent.email,
                "{e} can be reached at {v}|{e}'s email address is {v}|The email of {e} is {v}",
                "What is {e}'s email address?|How can {e} be reached?|What is the email of {e}?",
            ),
        ),
    ),
    _Kind(
        invent.place,
        ("It", "The town"),
        _relations(
            (
                _long_number,
                "{e} has {v} inhabitants|The population of {e} is {v}|{e} is home to {v} people",
                (
                    "How many people live in {e}?|What is the population of {e}?|"
                    "How many inhabitants does {e} have?"
                ),
            ),
            (
                _person,
                "The mayor of {e} is {v}|{e} is governed by {v}|{e}'s mayor is {v}",
                "Who is the mayor of {e}?|Who is {e}'s mayor?|Who governs {e}?",
            ),
            (
                invent.capitalised,
                (
                    "{e} lies on the river {v}|The river in {e} is called {v}|"
                    "{e} was built along the river {v}"
                ),
                (
                    "Which river is {e} on?|What river flows through {e}?|"
                    "What is the name of the river in {e}?"
                ),
            ),
            (
                invent.year,
                (
                    "{e} was founded in {v}|The founding of {e} dates to {v}|"
                    "{e} became a town in the year {v}"
                ),
                "When was {e} founded?|In what year was {e} founded?|What year was {e} founded in?",
            ),
            (
                _two_words,
                "{e} is known for its {v}|{e} is famous for its {v}|People visit {e} for its {v}",
                "What is {e} known for?|What is {e} famous for?|Why do people visit {e}?",
            ),
            (
                _unit(2, 990, "km", "miles", "kilometres"),
                (
                    "{e} is {v} from the coast|{e} lies {v} from the sea|"
                    "The distance from {e} to the coast is {v}"
                ),
                (
                    "How far is {e} from the sea?|How far is {e} from the coast?|"
                    "What is the distance from {e} to the coast?"
                ),
            ),
        ),
    ),
    _Kind(
        invent.company,
        ("It", "The company", "The firm"),
        _relations(
            (
                _person,
                "{e} was founded by {v}|The founder of {e} is {v}|{e} was started by {v}",
                "Who founded {e}?|Who is the founder of {e}?|Who started {e}?",
            ),
            (
                invent.year,
                "{e} was founded in {v}|{e} started business in {v}|{e} has existed since {v}",
                ("When was {e} founded?|In which year did {e} start?|Since when has {e} existed?"),
            ),
            (
                _person,
                "The CEO of {e} is {v}|{e} is led by {v}|{e}'s boss is {v}",
                "Who is the CEO of {e}?|Who leads {e}?|Who is the boss of {e}?",
            ),
            (
                _town,
                (
                    "{e} is based in {v}|{e} has its headquarters in {v}|"
                    "The headquarters of {e} are in {v}"
                ),
                (
                    "Where is {e} based?|Where are the headquarters of {e}?|"
                    "In which city is {e} based?"
                ),
            ),
            (
                _long_number,
                "{e} employs {v} people|{e} has {v} employees|The staff of {e} numbers {v}",
                (
                    "How many people does {e} employ?|How many employees does {e} have?|"
                    "How large is the staff of {e}?"
                ),
            ),
            (
                invent.product,
                (
                    "{e} makes the {v}|The best-known product of {e} is the {v}|"
                    "{e} is known for the {v}"
                ),
                "What does {e} make?|Which product does {e} make?|What is the product of {e}?",
            ),
            (
                _unit(1, 990, "million dollars", "million euros", "million"),
                (
                    "{e} had a revenue of {v} last year|{e} earned {v} last year|"
                    "The revenue of {e} was {v}"
                ),
                (
                    "What was the revenue of {e}?|How much did {e} earn?|"
                    "What did {e} earn last year?"
                ),
            ),
        ),
    ),
    _Kind(
        _suffixed("Museum", "Theatre", "Library", "Stadium", "Tower", "Hotel", "Gallery", "Castle"),
        ("It", "The building"),
        _relations(
            (
                invent.year,
                "{e} opened in {v}|{e} was opened in {v}|The opening of {e} was in {v}",
                "When did {e} open?|In what year did {e} open?|What year was {e} opened?",
            ),
            (
                _long_number,
                "{e} has {v} seats|{e} seats {v} people|The number of seats in {e} is {v}",
                (
                    "How many seats does {e} have?|What is the number of seats in {e}?|"
                    "How many people does {e} seat?"
                ),
            ),
            (
                invent.street,
                "{e} stands at {v}|The address of {e} is {v}|{e} is located at {v}",
                "What is the address of {e}?|Which address does {e} have?|At what address is {e}?",
            ),
            (
                _metres,
                "{e} is {v} tall|{e} rises to {v}|The height of {e} is {v}",
                "How tall is {e}?|What is the height of {e}?|How high is {e}?",
            ),
            (
                _person,
                "{e} was designed by {v}|The architect of {e} was {v}|{e} was drawn up by {v}",
                "Who designed {e}?|Who was the architect of {e}?|By whom was {e} designed?",
            ),
            (
                invent.price,
                "A ticket for {e} costs {v}|{e} charges {v} for entry|The entry fee of {e} is {v}",
                (
                    "How much is a ticket for {e}?|What does entry to {e} cost?|"
                    "What is the entry fee of {e}?"
                ),
            ),
            (
                invent.time_of_day,
                "{e} closes at {v}|{e} shuts its doors at {v}|The closing time of {e} is {v}",
                (
                    "When does {e} close?|At what time does {e} close?|"
                    "What is the closing time of {e}?"
                ),
            ),
            (
                _town,
                "{e} is in {v}|{e} can be found in {v}|The location of {e} is {v}",
                "Which town is {e} in?|In which city is {e}?|In what town can {e} be found?",
            ),
        ),
    ),
    _Kind(
        _suffixed("Festival", "Conference", "Marathon", "Fair", "Concert", "Cup", "Workshop"),
        ("It", "The event"),
        _relations(
            (
                invent.date,
                "{e} takes place on {v}|{e} is on {v}|The date of {e} is {v}",
                "When does {e} take place?|On which date is {e}?|What is the date of {e}?",
            ),
            (
                _town,
                "{e} is held in {v}|{e} takes place in {v}|The venue of {e} is {v}",
                "Where is {e} held?|In which town is {e} held?|What is the venue of {e}?",
            ),
            (
                _person,
                "{e} was won by {v}|The winner of {e} was {v}|The first prize of {e} went to {v}",
                "Who won {e}?|Who was the winner of {e}?|Who got the first prize of {e}?",
            ),
            (
                _long_number,
                (
                    "{e} drew {v} visitors|{e} was attended by {v} people|"
                    "The number of visitors to {e} was {v}"
                ),
                (
                    "How many people attended {e}?|How many visitors did {e} draw?|"
                    "How many visitors came to {e}?"
                ),
            ),
            (
                invent.company,
                "{e} is sponsored by {v}|The sponsor of {e} is {v}|{e} is paid for by {v}",
                "Who sponsors {e}?|Who is the sponsor of {e}?|Which company sponsors {e}?",
            ),
        ),
    ),
    _Kind(
        lambda rng: f"the {invent.product(rng)}",
        ("It", "The device"),
        _relations(
            (
                invent.price,
                "{e} costs {v}|The price of {e} is {v}|{e} is sold for {v}",
                "How much does {e} cost?|What is the price of {e}?|What does {e} cost?",
            ),
            (
                _unit(2, 950, "grams", "kg", "g", "pounds", "kilograms"),
                "{e} weighs {v}|The weight of {e} is {v}|{e} has a weight of {v}",
                "How heavy is {e}?|What is the weight of {e}?|How much does {e} weigh?",
            ),
            (
                _colour,
                "{e} comes in {v}|The colour of {e} is {v}|{e} is painted {v}",
                "What colour is {e}?|What is the colour of {e}?|Which color does {e} have?",
            ),
            (
                _unit(2, 90, "hours", "days", "minutes"),
                (
                    "The battery of {e} lasts {v}|{e} runs for {v} on one charge|"
                    "{e} has a battery life of {v}"
                ),
                (
                    "How long does the battery of {e} last?|What is the battery life of {e}?|"
                    "How long does {e} run on one charge?"
                ),
            ),
            (
                _MATERIALS,
                "{e} is made of {v}|The case of {e} is {v}|{e} is built from {v}",
                "What is {e} made of?|Which material is {e} made of?|What is {e} built from?",
            ),
            (
                invent.code,
                "The serial number of {e} is {v}|{e} has the code {v}|{e} is listed under {v}",
                (
                    "What is the code of {e}?|What is the serial number of {e}?|"
                    "Under which code is {e} listed?"
                ),
            ),
            (
                _unit(1, 12, "years", "months"),
                "{e} has a warranty of {v}|The warranty of {e} is {v}|{e} is guaranteed for {v}",
                (
                    "How long is the warranty of {e}?|What is the warranty of {e}?|"
                    "For how long is {e} guaranteed?"
                ),
            ),
        ),
    ),
    _Kind(
        lambda rng: f"{invent.pet(rng)} the {_SPECIES(rng)}",
        ("It", "The animal"),
        _relations(
            (
                _FOODS,
                "{e} eats {v}|{e} is fed with {v}|The food of {e} is {v}",
                "What does {e} eat?|What is {e} fed with?|What is the food of {e}?",
            ),
            (
                _colour,
                "{e} is {v}|The colour of {e} is {v}|{e} is coloured {v}",
                "What colour is {e}?|What is the colour of {e}?|Which color is {e}?",
            ),
            (
                _person,
                "{e} belongs to {v}|The owner of {e} is {v}|{e} is owned by {v}",
                "Who owns {e}?|Who is the owner of {e}?|To whom does {e} belong?",
            ),
            (
                _two_words,
                "{e} is afraid of the {v}|{e} fears the {v}|The great fear of {e} is the {v}",
                "What is {e} afraid of?|What does {e} fear?|What is the great fear of {e}?",
            ),
        ),
    ),
    _Kind(
        lambda rng: f"the {invent.capitalised(rng)} {_DISHES(rng)}",
        ("It", "The dish"),
        _relations(
            (
                _unit(5, 240, "minutes", "min"),
                "{e} cooks for {v}|{e} takes {v} to make|The cooking time of {e} is {v}",
                "How long does {e} take?|How long does {e} cook?|What is the cooking time of {e}?",
            ),
            (
                _unit(2, 900, "grams of flour", "grams of rice", "ml of milk", "onions", "eggs"),
                "{e} needs {v}|{e} is made with {v}|The recipe for {e} calls for {v}",
                "What does {e} need?|What is {e} made with?|What does the recipe for {e} call for?",
            ),
            (
                _unit(120, 250, "degrees", "°C"),
                "{e} is baked at {v}|The oven for {e} is set to {v}|{e} goes in the oven at {v}",
                (
                    "At what temperature is {e} baked?|How hot is the oven for {e}?|"
                    "What is the oven temperature for {e}?"
                ),
            ),
            (
                _number(2, 12, 40),
                "{e} serves {v}|{e} is enough for {v}|The number of servings of {e} is {v}",
                (
                    "How many people does {e} serve?|For how many is {e} enough?|"
                    "What is the number of servings of {e}?"
                ),
            ),
        ),
    ),
    _Kind(
        lambda rng: f"the {_two_words(rng)} meeting",
        ("It", "The meeting"),
        _relations(
            (
                _opening,
                "{e} starts at {v}|{e} is set for {v}|The start of {e} is {v}",
                "When does {e} start?|When is {e}?|What is the start of {e}?",
            ),
            (
                _room,
                "{e} is in {v}|{e} will be held in {v}|The place of {e} is {v}",
                "Where is {e}?|In which room is {e}?|Where will {e} be held?",
            ),
            (
                _person,
                "{e} is chaired by {v}|The host of {e} is {v}|{e} was called by {v}",
                "Who chairs {e}?|Who is the host of {e}?|Who called {e}?",
            ),
            (
                _unit(10, 180, "minutes"),
                "{e} lasts {v}|{e} takes {v}|The length of {e} is {v}",
                "How long is {e}?|How long does {e} last?|What is the length of {e}?",
            ),
        ),
    ),
    _Kind(
        lambda rng: f'"{invent.phrase(rng, 1, 3).capitalize()} {invent.capitalised(rng)}"',
        ("It", "The book"),
        _relations(
            (
                _person,
                "{e} was written by {v}|The author of {e} is {v}|{e} is a novel by {v}",
                "Who wrote {e}?|Who is the author of {e}?|By whom is {e}?",
            ),
            (
                _number(20, 99, 999),
                "{e} has {v} pages|{e} is {v} pages long|The number of pages of {e} is {v}",
                "How many pages does {e} have?|How long is {e}?|How many pages are in {e}?",
            ),
            (
                invent.year,
                "{e} was published in {v}|{e} came out in {v}|The first edition of {e} is from {v}",
                (
                    "When was {e} published?|In what year did {e} come out?|"
                    "When did the first edition of {e} appear?"
                ),
            ),
            (
                _person,
                "{e} is about {v}|The hero of {e} is {v}|{e} tells the story of {v}",
                "Who is {e} about?|Who is the hero of {e}?|Whose story does {e} tell?",
            ),
        ),
    ),
)

_KIND_WEIGHTS = (5, 3, 3, 4, 2, 3, 2, 2, 2, 2)

_FILLERS = (
    "Many people know this.",
    "The weather was fine that day.",
    "Nobody expected that.",
    "More details will follow.",
    "This was in the news.",
    "Visitors are welcome.",
    "The neighbours were pleased.",
    "Everyone agrees on this.",
)

_USER_LAYOUTS = (
    "Answer the question based only on the following context:\n{c}\n\nQuestion: {q}",
    "Answer the question based only on the following context:\n\n{c}\n\nQuestion: {q}\n",
    "Answer the question using the context.\n\nContext: {c}\n\nQuestion: {q}\n\nAnswer:",
    "Context:\n{c}\n\nQuestion: {q}",
    "Context: {c}\nQuestion: {q}",
    "Context: {c}\n\nQuestion: {q}\nAnswer:",
    "{c}\n\n{q}",
    "{c}\n{q}",
    "{c} {q}",
    "Use the text below.\n\n{c}\n\n{q}",
    (
        "Use the following pieces of context to answer the question at the end.\n\n{c}\n\n"
        "Question: {q}\nHelpful Answer:"
    ),
    "Read this:\n{c}\n\n{q}",
    "Text: {c}\n\n{q}",
    "Question: {q}\n\nContext:\n{c}",
    "Question: {q}\nContext: {c}\nAnswer:",
    "{q}\n\n{c}",
    "{q} Use this text: {c}",
    "Here is some information: {c}\n\nNow tell me: {q}",
    (
        "You are an assistant for question-answering tasks. Use the following context to answer.\n"
        "Question: {q}\nContext: {c}\nAnswer:"
    ),
    "Documents:\n{c}\n\nUser question: {q}",
    "<context>\n{c}\n</context>\n\nQuestion: {q}",
    "<context>\n{c}\n</context>\n{q}",
)

_SYSTEM_LAYOUTS = (
    "Answer the user's question from the context.\n\n{c}",
    "Answer the user's questions based on the below context:\n\n{c}",
    "Context:\n{c}",
    "Use this context to answer:\n{c}",
    "You are a helpful assistant. You know this: {c}",
    "Answer any questions based on the context below:\n\n<context>\n{c}\n</context>",
    "{c}",
    "You answer questions about this text:\n{c}",
)

_PLAIN_SYSTEMS = (
    "You are a helpful assistant.",
    "Answer from the context only.",
    "You are a careful reader.",
    "Answer briefly.",
)


def _passage(
    rng: random.Random, kind: _Kind, entity: str, relations: list[_Relation]
) -> tuple[str, list[_Fact]]:
    facts = []
    sentences = []
    pronoun = rng.choice(kind.pronouns)
    join = False
    for number, relation in enumerate(relations):
        value = relation.value(rng)
        fact = _Fact(entity, relation, rng.choice(relation.frames), value)
        facts.append(fact)
        starts = fact.frame.startswith("{e} ")
        if number and join and starts and rng.random() < 0.4:
            rest = fact.frame[4:].replace("{e}", entity).replace("{v}", value)
            sentences[-1] = f"{sentences[-1][:-1]} and {rest}."
            join = False
            continue
        if number and starts and rng.random() < 0.6:
            text = fact.frame.replace("{e}", pronoun).replace("{v}", value) + "."
        else:
            text = fact.sentence()
        sentences.append(text)
        join = starts
    if rng.random() < 0.1:
        sentences.insert(rng.randint(1, len(sentences)), rng.choice(_FILLERS))
    return " ".join(sentences), facts


def _join_passages(rng: random.Random, passages: list[str], short: bool) -> str:
    roll = rng.random()
    if len(passages) == 1 and roll > 0.1:
        return passages[0]
    if roll < 0.15:
        return "\n".join(f"[{number}] {text}" for number, text in enumerate(passages, 1))
    if roll < 0.25:
        return "\n".join(f"- {text}" for text in passages)
    if short and roll < 0.5:
        return " ".join(passages)
    return rng.choice(("\n\n", "\n\n", "\n")).join(passages)


def passage_sample(rng: random.Random) -> Sample:
    """One to three invented passages and one or two questions about them.

    One question in ten asks what the passages do not say; other entities often have the asked
    relation too.
    """
    count = rng.choices((1, 2, 3), (45, 35, 20))[0]
    kinds = rng.choices(_KINDS, _KIND_WEIGHTS, k=count)
    if count > 1 and rng.random() < 0.65:
        kinds = [kinds[0]] * count
    shared = rng.choice(kinds[0].relations)
    most = (4, 3, 2)[count - 1]
    passages: list[str] = []
    facts: list[_Fact] = []
    entities: set[str] = set()
    spare: list[_Fact] = []
    for kind in kinds:
        entity = kind.entity(rng)
        while entity in entities:
            entity = kind.entity(rng)
        entities.add(entity)
        wanted = rng.randint(1, most) if count > 1 else rng.choice((1, 2, 2, 3, 3, 4))
        pool = list(kind.relations)
        rng.shuffle(pool)
        if kind is kinds[0]:
            pool.remove(shared)
            pool.insert(0, shared)
        chosen, unused = pool[:wanted], pool[wanted:]
        # A relation with the same kind of value may half answer the question: no "does not say".
        told = {relation.value for relation in chosen}
        rng.shuffle(chosen)
        text, found = _passage(rng, kind, entity, chosen)
        passages.append(text)
        facts.extend(found)
        for relation in unused:
            if relation.value not in told:
                spare.append(_Fact(entity, relation, relation.frames[0], ""))
    order = list(range(count))
    rng.shuffle(order)
    passages = [passages[index] for index in order]

    rounds = 2 if rng.random() < 0.22 else 1
    picked = rng.sample(facts, min(rounds, len(facts)))
    turns: list[tuple[str, Reply]] = []
    for fact in picked:
        if spare and rng.random() < 0.1:
            turns.append((rng.choice(spare).question(rng), NOT_SAID))
        else:
            turns.append((fact.question(rng), fact.reply()))
    context = _join_passages(rng, passages, sum(map(len, passages)) < 300)
    system: str | None = None
    first, reply = turns[0]
    if rng.random() < 0.25:
        system = rng.choice(_SYSTEM_LAYOUTS).replace("{c}", context)
    else:
        layout = rng.choice(_USER_LAYOUTS)
        first = layout.replace("{q}", first).replace("{c}", context)
        if rng.random() < 0.2:
            system = rng.choice(_PLAIN_SYSTEMS)
    exchanges = [Exchange(first, reply)]
    exchanges.extend(Exchange(question, answer) for question, answer in turns[1:])
    return Sample(tuple(exchanges), system)
