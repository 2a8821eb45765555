"""Tool calls, JSON answers and plain copying: dialogues whose values are fresh each time."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training import invent
from training.dialogue import Exchange, Reply, Sample, ToolCall

_Maker = Callable[[random.Random], Any]

_LONGEST = 900
"""Characters of schemas and dialogue beyond which nothing more is added to a sample."""


@dataclass(frozen=True)
class _Param:
    name: str
    kind: str
    value: _Maker
    description: str = ""
    options: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class _Tool:
    """A tool of one sample, with how users ask for it and what it returns.

    In ``asks`` and ``says``, ``{0}`` is the first argument and so on; ``{v}`` in ``says`` is the
    returned value.
    """

    name: str
    description: str
    params: tuple[_Param, ...]
    asks: tuple[str, ...]
    says: str
    result: _Maker
    result_key: str
    group: str = ""

    def schema(self) -> dict[str, Any]:
        """The OpenAI function schema."""
        properties: dict[str, Any] = {}
        for param in self.params:
            entry: dict[str, Any] = {"type": param.kind}
            if param.options:
                entry["enum"] = list(param.options)
            if param.description:
                entry["description"] = param.description
            properties[param.name] = entry
        parameters: dict[str, Any] = {"type": "object", "properties": properties}
        required = [param.name for param in self.params if param.required]
        if required:
            parameters["required"] = required
        function: dict[str, Any] = {"name": self.name}
        if self.description:
            function["description"] = self.description
        function["parameters"] = parameters
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class _Slot:
    """A parameter of an intent: names to choose from, JSON type, maker of values."""

    names: tuple[str, ...]
    kind: str
    value: _Maker
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Intent:
    """An everyday purpose that a tool can have."""

    key: str
    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    slots: tuple[_Slot, ...]
    asks: tuple[str, ...]
    says: tuple[str, ...]
    result: _Maker
    result_keys: tuple[str, ...]


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


def _slot(names: str, kind: str, value: _Maker, options: str = "") -> _Slot:
    return _Slot(_split(names), kind, value, _split(options) if options else ())


def _intent(
    names: str,
    descriptions: str,
    slots: tuple[_Slot, ...],
    asks: str,
    says: str,
    result: _Maker,
    result_keys: str,
) -> _Intent:
    return _Intent(
        names.split("|")[0],
        _split(names),
        _split(descriptions),
        slots,
        _split(asks),
        _split(says),
        result,
        _split(result_keys),
    )


def _number(rng: random.Random) -> int | float:
    return invent.floating(rng) if rng.random() < 0.4 else invent.signed(rng)


def _amount(rng: random.Random) -> int | float:
    return abs(invent.floating(rng)) if rng.random() < 0.3 else rng.randint(2, 9999)


def _topic(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.6:
        return invent.phrase(rng, 1, 4)
    if roll < 0.7:
        return invent.non_ascii(rng)
    return rng.choice((invent.person, invent.company, invent.product, invent.capitalised))(rng)


def _sky(rng: random.Random) -> str:
    sky = rng.choice(
        ("sunny", "cloudy", "foggy", "rainy", "windy", "snowy", "stormy", "clear", "hazy", "cold")
    )
    roll = rng.random()
    if roll < 0.35:
        return sky
    if roll < 0.7:
        return f"{rng.randint(-20, 110)} degrees and {sky}"
    return f"{sky} and {rng.randint(-20, 42)} degrees"


def _pick(text: str) -> _Maker:
    options = _split(text)
    return lambda rng: rng.choice(options)


def _small(low: int, high: int) -> _Maker:
    return lambda rng: rng.randint(low, high)


def _ticker(rng: random.Random) -> str:
    return "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(3, 4)))


def _status(rng: random.Random) -> str:
    return rng.choice(("shipped", "delayed", "delivered", "cancelled", "packed", "lost", "paid"))


def _free_text(rng: random.Random) -> str:
    return invent.phrase(rng, 2, 5)


_LANGUAGES = "French|Spanish|German|Italian|Polish|Greek|Danish|Turkish|Korean|Hindi|Swahili|Welsh"
_CURRENCIES = "EUR|USD|GBP|JPY|CHF|SEK|NOK|PLN|INR|BRL"
_PLACE = _slot("location|city|place|input|town|query", "string", invent.place_any)
_X = _slot("x|a|first|num1|left|n1", "number", _number)
_Y = _slot("y|b|second|num2|right|n2", "number", _number)
_I = _slot("a|x|first_int|m|int1", "integer", invent.signed)
_J = _slot("b|y|second_int|n|int2", "integer", invent.signed)

_INTENTS: tuple[_Intent, ...] = (
    _intent(
        "get_weather|weather|get_current_weather|weather_lookup|check_weather|fetch_weather",
        "Get the weather in a place.|Current weather for a city.|Call to get the current weather.|"
        "Weather lookup.|Returns the weather.",
        (_PLACE,),
        "What's the weather in {0}?|what is the weather in {0}|How is the weather in {0}?|"
        "Weather in {0}, please.|Tell me the weather in {0}.|Is it raining in {0}?|"
        "What is it like outside in {0} today?|I am going to {0}. What is the weather there?",
        "It is {v} in {0}.|The weather in {0} is {v}.",
        _sky,
        "weather|conditions|forecast",
    ),
    _intent(
        "get_temperature|temperature|read_temperature",
        "Get the temperature in a city.|Temperature lookup by place and unit.",
        (
            _PLACE,
            _slot("unit|units|scale", "string", _pick("celsius|fahrenheit"), "celsius|fahrenheit"),
        ),
        "What is the temperature in {0} in {1}?|How warm is it in {0} in {1}?|"
        "Temperature in {0}, {1} please.|Tell me in {1} how cold it is in {0}.",
        "It is {v} degrees {1} in {0}.|The temperature in {0} is {v} degrees {1}.",
        _small(-30, 110),
        "temperature|degrees",
    ),
    _intent(
        "add|add_numbers|sum|plus|adder",
        "Add two numbers.|Adds a and b.|Returns the sum.",
        (_X, _Y),
        "Add {0} and {1}.|What is {0} plus {1}?|What is {0} + {1}?|Add {0} and {1} for me|"
        "Sum {0} and {1}, please.|How much is {0} + {1}?",
        "{0} plus {1} is {v}.|The sum of {0} and {1} is {v}.",
        _number,
        "sum|result",
    ),
    _intent(
        "multiply|multiply_numbers|times|product",
        "Multiply two integers.|Multiplies a by b.|Returns the product.",
        (_I, _J),
        "Multiply {0} by {1}.|What is {0} times {1}?|What is {0} * {1}?|What's {0} x {1}?|"
        "Multiply {0} and {1} please",
        "{0} times {1} is {v}.|The product of {0} and {1} is {v}.",
        invent.signed,
        "product|result",
    ),
    _intent(
        "subtract|minus|difference",
        "Subtract b from a.|Difference of two numbers.",
        (_X, _Y),
        "What is {0} minus {1}?|What is {0} - {1}?|Take {0} and subtract {1}.",
        "{0} minus {1} is {v}.",
        _number,
        "difference|result",
    ),
    _intent(
        "divide|division|quotient",
        "Divide a by b.|Quotient of two numbers.",
        (_X, _Y),
        "Divide {0} by {1}.|What is {0} divided by {1}?|What is {0} / {1}?",
        "{0} divided by {1} is {v}.",
        _number,
        "quotient|result",
    ),
    _intent(
        "square_root|sqrt|get_root",
        "Square root of a number.|Compute a square root.",
        (_slot("x|number|value|n|input", "number", _amount),),
        "What is the square root of {0}?|Compute the square root of {0}.|Square root of {0}?",
        "The square root of {0} is {v}.",
        invent.floating,
        "root|result",
    ),
    _intent(
        "magic_function|magic|my_magic_function|secret_function|my_function",
        "Applies a magic function to an input.|Magic function.|A secret function.",
        (_slot("input|x|value|n|number", "integer", invent.signed),),
        "What is the value of {name}({0})?|What is {name}({0})? Use the tool.|Compute {name} of {0}.|"
        "what is the value of {name}({0})?|What does {name} give for {0}?|Apply {name} to {0}.|"
        "What is the magic value of {0}?",
        "The value of {name}({0}) is {v}.",
        invent.signed,
        "value|output",
    ),
    _intent(
        "search|web_search|search_web|tavily_search|search_tool|internet_search",
        "Search the web.|Searches the internet for a query.|Look things up online.",
        (_slot("query|q|input|search_query|text", "string", _topic),),
        "Search the web for {0}.|Search for {0}|Look up {0} online.|Find something about {0}.|"
        "Google {0} for me.|What does the web say about {0}?",
        "The search found {v}.|I found this about {0}: {v}.",
        _topic,
        "result|title|top",
    ),
    _intent(
        "get_order_status|order_status|track_order|check_order|lookup_order",
        "Get the status of an order.|Order status by id.|Track an order.",
        (_slot("order_id|id|order|order_number", "string", invent.code),),
        "Where is my order {0}?|What is the status of order {0}?|Track order {0}.|"
        "Has order {0} been shipped?|Check on order {0} please.",
        "Order {0} is {v}.|The status of order {0} is {v}.",
        _status,
        "status|state",
    ),
    _intent(
        "get_balance|account_balance|check_balance|customer_balance",
        "Balance of a customer's account.|Get the account balance.",
        (_slot("customer_name|name|customer|account_holder", "string", invent.person_any),),
        "What is the balance of {0}?|How much money does {0} have?|"
        "Check the account balance of {0}.|Balance for customer {0}?",
        "The balance of {0} is {v}.",
        invent.price,
        "balance|amount",
    ),
    _intent(
        "convert_currency|currency_converter|exchange|fx_convert",
        "Convert money between currencies.|Currency conversion.",
        (
            _slot("amount|value|sum", "number", _amount),
            _slot("from_currency|source|base", "string", _pick(_CURRENCIES)),
            _slot("to_currency|target|to", "string", _pick(_CURRENCIES)),
        ),
        "Convert {0} {1} to {2}.|How much is {0} {1} in {2}?|Exchange {0} {1} into {2} please.",
        "{0} {1} is {v} {2}.|You get {v} {2} for {0} {1}.",
        _amount,
        "converted|amount_out|result",
    ),
    _intent(
        "translate|translate_text|translator",
        "Translate text to a language.|Translates a text.",
        (
            _slot("text|input|sentence|phrase", "string", lambda rng: invent.phrase(rng, 1, 4)),
            _slot("language|target_language|lang|to", "string", _pick(_LANGUAGES)),
        ),
        'Translate "{0}" to {1}.|How do you say "{0}" in {1}?|Put "{0}" into {1}.|'
        "Translate '{0}' into {1} please.",
        '"{0}" in {1} is "{v}".|The translation is {v}.',
        lambda rng: " ".join(invent.word(rng) for _ in range(rng.randint(1, 3))),
        "translation|text",
    ),
    _intent(
        "send_email|send_message|email|send_mail|notify",
        "Send a message to someone.|Sends an email.",
        (
            _slot("to|recipient|name|contact", "string", invent.person_any),
            _slot("message|body|text|content", "string", _free_text),
        ),
        'Send an email to {0} saying "{1}".|Tell {0} by mail: {1}|Message {0}: "{1}"|'
        "Send {0} the message '{1}'.|Write to {0} that \"{1}\".",
        "The message to {0} was sent with id {v}.",
        invent.code,
        "message_id|id|sent",
    ),
    _intent(
        "book_table|reserve_table|make_reservation|book_restaurant",
        "Book a table at a restaurant.|Make a restaurant reservation.",
        (
            _slot("restaurant|name|place", "string", invent.capitalised),
            _slot("people|guests|party_size|seats", "integer", _small(1, 19)),
            _slot("time|at|hour", "string", invent.time_of_day),
        ),
        "Book a table for {1} at {0} at {2}.|Reserve a table at {0} for {1} people at {2}.|"
        "I want to eat at {0} at {2}, we are {1}.",
        "The table at {0} is booked with code {v}.|Your booking code is {v}.",
        invent.code,
        "booking|code|reservation",
    ),
    _intent(
        "set_timer|start_timer|timer|countdown",
        "Set a timer in minutes.|Starts a timer.",
        (_slot("minutes|duration|length|mins", "integer", _small(1, 240)),),
        "Set a timer for {0} minutes.|Start a {0} minute timer.|Timer, {0} minutes.|"
        "Wake me in {0} minutes.",
        "The timer for {0} minutes has id {v}.|Timer {v} runs for {0} minutes.",
        _small(100, 9999),
        "timer|id",
    ),
    _intent(
        "set_light|switch_light|light_control|toggle_lamp",
        "Switch a lamp on or off.|Controls the light in a room.",
        (
            _slot("room|where|location", "string", lambda rng: invent.phrase(rng, 1, 2)),
            _slot("on|enabled|state|turn_on", "boolean", lambda rng: rng.random() < 0.5),
        ),
        "Turn {1} the light in the {0}.|Switch {1} the lamp in the {0}.|Light {1} in the {0}.|"
        "Turn the {0} light {1}, please.",
        "The light in the {0} is now {1} at {v} percent.",
        _small(1, 100),
        "brightness|level",
    ),
    _intent(
        "get_time|current_time|time_now|get_current_time|clock",
        "Get the current time.|The time now.",
        (),
        "What time is it?|What's the time?|Tell me the time.|Current time?|Do you know what time it is?",
        "It is {v}.|The time is {v}.",
        invent.time_of_day,
        "time|now",
    ),
    _intent(
        "get_date|today|current_date|get_today",
        "Get today's date.|The current date.",
        (),
        "What is today's date?|Which day is it today?|What's the date?|Today's date, please.",
        "Today is {v}.|The date is {v}.",
        invent.date,
        "date|today",
    ),
    _intent(
        "stock_price|get_stock_price|quote|share_price",
        "Get the price of a stock.|Stock price by ticker.",
        (_slot("ticker|symbol|stock|input", "string", _ticker),),
        "What is the stock price of {0}?|How much is a share of {0}?|Quote {0}.|{0} stock price?",
        "The stock price of {0} is {v}.|{0} trades at {v}.",
        invent.price,
        "price|quote",
    ),
    _intent(
        "get_population|population|population_of|count_people",
        "Population of a place.|Number of people in a city.",
        (_PLACE,),
        "How many people live in {0}?|What is the population of {0}?|Population of {0}?",
        "{0} has {v} inhabitants.|The population of {0} is {v}.",
        _small(100, 999999),
        "population|inhabitants",
    ),
    _intent(
        "get_birthday|birthday|find_birthday|birthday_lookup",
        "Look up a person's birthday.|Birthday by name.",
        (_slot("name|person|who|full_name", "string", invent.person_any),),
        "When is the birthday of {0}?|When was {0} born?|What is the birthday of {0}?",
        "The birthday of {0} is {v}.|{0} was born on {v}.",
        invent.date,
        "birthday|date|born",
    ),
    _intent(
        "find_phone|phone_number|phone_book|lookup_phone",
        "Find a person's phone number.|Phone book.",
        (_slot("name|person|contact|customer_name", "string", invent.person_any),),
        "What is the phone number of {0}?|I want to call {0}. Which number?|Phone number of {0}?",
        "The phone number of {0} is {v}.",
        lambda rng: f"{rng.randint(100, 999)}-{rng.randint(1000, 9999)}",
        "phone|number",
    ),
    _intent(
        "create_event|add_event|schedule_meeting|calendar_add",
        "Add an event to the calendar.|Schedule a meeting.",
        (
            _slot("title|event|name|subject", "string", lambda rng: invent.phrase(rng, 1, 3)),
            _slot("date|day|when", "string", invent.date),
        ),
        'Put "{0}" in my calendar on {1}.|Create the event {0} on {1}.|'
        "Schedule {0} for {1}.|On {1} I have {0}, add it to the calendar.",
        "The event {0} is planned with id {v}.|{0} is in the calendar as {v}.",
        invent.code,
        "event_id|id",
    ),
    _intent(
        "get_distance|distance|route_length|travel_distance",
        "Distance between two places.|How far two cities are apart.",
        (
            _slot("origin|start|from_city|a", "string", invent.place_any),
            _slot("destination|end|to_city|b", "string", invent.place_any),
        ),
        "How far is it from {0} to {1}?|What is the distance from {0} to {1}?|"
        "Distance between {0} and {1}?",
        "It is {v} from {0} to {1}.",
        lambda rng: f"{rng.randint(2, 9999)} {rng.choice(('km', 'miles'))}",
        "distance|length",
    ),
    _intent(
        "word_length|count_letters|get_word_length|string_length",
        "Number of letters in a word.|Length of a text.",
        (_slot("word|text|input|s", "string", lambda rng: invent.word(rng, 1, 4)),),
        "How many letters are in {0}?|What is the length of the word {0}?|Count the letters of {0}.",
        "The word {0} has {v} letters.",
        _small(2, 40),
        "length|count",
    ),
    _intent(
        "add_todo|add_task|create_task|todo|remember",
        "Add a task to the list.|Adds a todo item.",
        (_slot("task|item|text|title|todo", "string", lambda rng: invent.phrase(rng, 2, 4)),),
        'Add "{0}" to my list.|Remind me of {0}.|New task: {0}|Put {0} on my todo list.',
        "The task {0} has number {v}.|Task {v} was added.",
        _small(1, 999),
        "task_id|number",
    ),
    _intent(
        "get_user_info|user_info|find_user|fetch_user|get_user",
        "Find a user by id.|Get a user's name.",
        (_slot("user_id|id|uid|user", "integer", invent.integer),),
        "Who is user {0}?|Get the user with id {0}.|What is the name of user {0}?|Look up user {0}.",
        "User {0} is {v}.|The name of user {0} is {v}.",
        invent.person_any,
        "name|user",
    ),
)

_GENERIC_SLOTS: tuple[_Slot, ...] = (
    _slot("input|text|query|value|arg|data", "string", invent.anything),
    _slot("name|customer_name|person|user|author|contact", "string", invent.person_any),
    _slot("city|location|place|town|region", "string", invent.place_any),
    _slot("company|brand|vendor", "string", invent.company),
    _slot("date|day|start|due_date", "string", invent.date),
    _slot("id|code|key|order_id|reference", "string", invent.code),
    _slot("topic|title|label|subject|tag|item", "string", lambda rng: invent.phrase(rng, 1, 4)),
    _slot("word|term|token|symbol", "string", invent.word),
    _slot("email|address|recipient", "string", invent.email),
    _slot("input|x|n|number|value|count|a|b", "integer", invent.signed),
    _slot("amount|quantity|limit|size|level|year|page", "integer", invent.integer),
    _slot("amount|price|weight|x|rate|score|total", "number", _number),
    _slot("verbose|dry_run|force|urgent|active|flag", "boolean", lambda rng: rng.random() < 0.5),
)

_ENUM_NAMES = _split("mode|type|category|kind|style|priority|color|format")

_GENERIC_RESULTS: tuple[_Maker, ...] = (
    invent.signed,
    invent.integer,
    _number,
    invent.code,
    invent.person,
    invent.place,
    invent.price,
    invent.date,
    invent.phrase,
    _status,
    invent.non_ascii,
    invent.company,
)

_RESULT_KEYS = _split("result|value|output|answer|data|found")

_BY_NAME = (
    "Call {name} with {args}.",
    "Please call {name} with {args}.",
    "Use the tool {name} with {args}.",
    "Use {name} for {args}.",
    "Please call {name} for {args}.",
    "Run {name} on {args}.",
    "Use the tool to get {name} of {args}.",
    "What does {name} return for {args}?",
    "What is {name} of {args}?",
    "What is {name}({bare})?",
    "Call {name}({bare}).",
    "I need {name} for {args}, please.",
    "call the {name} function using {args}",
    "Use the {name} tool. The input is {args}.",
)
_BY_NAME_NO_ARGS = (
    "Call {name}.",
    "Please call {name}.",
    "Use the tool {name}.",
    "Run {name} now.",
    "What does {name} return?",
    "What is {name}()?",
    "Use the {name} tool, please.",
)
_BY_PURPOSE = (
    "{words} for {args}.",
    "Please {lower} for {args}.",
    "Can you {lower} for {args}?",
    "I want to {lower} with {args}.",
    "{words}: {args}",
    "Use a tool to {lower} for {args}.",
    "Could you {lower} using {args}?",
)
_BY_PURPOSE_NO_ARGS = (
    "{words}.",
    "Please {lower}.",
    "Can you {lower}?",
    "I want to {lower}.",
    "Use a tool to {lower}.",
)
_WRAPPERS = (
    "{ask}",
    "{ask}",
    "{ask}",
    "{ask}",
    "{ask}",
    "{ask}",
    "{ask} Use the {name} tool.",
    "{ask} Use the tool.",
    "Use {name}: {ask}",
    "Hi! {ask}",
    "{ask} Please use {name}.",
    "{ask} Thanks.",
)

_SYSTEMS = (
    "You are a helpful assistant.",
    "You are a helpful assistant",
    "Use the tools when needed.",
    "You are a helpful assistant with tools.",
    "Answer with the help of tools.",
    "You are {}, a friendly bot.",
)

_ERRORS = (
    "Error: {}",
    "Error: {}",
    "failed: {}",
    '{{"error": "{}"}}',
)
_PROBLEMS = _split(
    "not found|timeout|no access|invalid input|service unavailable|connection refused|"
    "unknown key|rate limit reached|permission denied|bad request"
)


def _system(rng: random.Random, share: float = 0.25) -> str | None:
    if rng.random() >= share:
        return None
    return rng.choice(_SYSTEMS).replace("{}", invent.capitalised(rng))


def _show(value: Any) -> str:
    """A value as users write it, which is how JSON has it but for the quotes."""
    if isinstance(value, str):
        return value
    return json.dumps(value)


def _fill(
    template: str, tool: _Tool, values: dict[str, Any], result: str = "", on_off: bool = False
) -> str:
    """Put the arguments, the name and the result in a template."""
    text = template.replace("{name}", tool.name)
    for index, param in enumerate(tool.params):
        value = values.get(param.name, "")
        shown = ("on" if value else "off") if on_off and isinstance(value, bool) else _show(value)
        text = text.replace("{" + str(index) + "}", shown)
    return text.replace("{v}", result)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _from_intent(rng: random.Random, intent: _Intent) -> _Tool:
    params: list[_Param] = []
    described = rng.random() < 0.12
    for slot in intent.slots:
        name = rng.choice(slot.names) if rng.random() < 0.6 else slot.names[0]
        while any(name == param.name for param in params):
            name = rng.choice(slot.names)
        kind = slot.kind
        description = f"The {name.replace('_', ' ')}." if described else ""
        params.append(_Param(name, kind, slot.value, description, slot.options))
    return _Tool(
        rng.choice(intent.names),
        "" if rng.random() < 0.12 else rng.choice(intent.descriptions),
        tuple(params),
        intent.asks,
        rng.choice(intent.says),
        intent.result,
        rng.choice(intent.result_keys),
        intent.key,
    )


def _generic(rng: random.Random) -> _Tool:
    """A tool with a random name, any parameters and a description of the name's words."""
    name = invent.function_name(rng)
    words = name.replace("_", " ")
    params: list[_Param] = []
    described = rng.random() < 0.12
    for number in range(rng.choices((0, 1, 2, 3), (12, 55, 25, 8))[0]):
        if rng.random() < 0.07:
            options = tuple({invent.phrase(rng, 1, 1): None for _ in range(rng.randint(2, 3))})
            slot = _Slot(_ENUM_NAMES, "string", lambda r, o=options: r.choice(o), options)
        else:
            slot = rng.choice(_GENERIC_SLOTS)
        arg = rng.choice(slot.names) if rng.random() < 0.88 else invent.word(rng, 1, 2)
        if any(arg == param.name for param in params):
            continue
        description = f"The {arg.replace('_', ' ')}." if described else ""
        required = number == 0 or rng.random() < 0.7
        params.append(_Param(arg, slot.kind, slot.value, description, slot.options, required))
    roll = rng.random()
    if roll < 0.22:
        description = ""
    elif roll < 0.6:
        description = _capital(words) + "."
    elif roll < 0.8:
        description = f"Use this to {words}."
    elif roll < 0.9 and params:
        description = f"{_capital(words)} by {params[0].name.replace('_', ' ')}."
    else:
        description = f"{_capital(words)} ({invent.phrase(rng, 1, 2)})."
    return _Tool(
        name,
        description,
        tuple(params),
        (),
        rng.choice(("The result of {name} is {v}.", "The result is {v}.", "{name} returned {v}.")),
        rng.choice(_GENERIC_RESULTS),
        rng.choice(_RESULT_KEYS),
    )


def _values(rng: random.Random, tool: _Tool) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for param in tool.params:
        if not param.required and rng.random() < 0.45:
            continue
        value = param.value(rng)
        while not isinstance(value, bool) and value in values.values():
            value = param.value(rng)
        values[param.name] = value
    return values


def _list_args(rng: random.Random, tool: _Tool, values: dict[str, Any]) -> str:
    """The arguments of a generic tool in words."""
    quote = rng.choice(("", "", "", '"', "'"))

    def shown(value: Any) -> str:
        if isinstance(value, str) and quote not in value:
            return f"{quote}{value}{quote}"
        return _show(value)

    types = {param.name: param.kind for param in tool.params}
    if len(values) == 1 and rng.random() < 0.6:
        ((name, value),) = values.items()
        if types[name] != "boolean":
            return shown(value)
    form = rng.choice(("{0} {1}", "{0} {1}", "{0}={1}", "{0} = {1}", "{0}: {1}", "{0} set to {1}"))
    spaced = form == "{0} {1}" and rng.random() < 0.4
    parts = [
        form.replace("{0}", name.replace("_", " ") if spaced else name, 1).replace(
            "{1}", shown(value), 1
        )
        for name, value in values.items()
    ]
    if len(parts) > 1 and rng.random() < 0.6:
        return ", ".join(parts[:-1]) + " and " + parts[-1]
    return ", ".join(parts)


def _bare_args(values: dict[str, Any]) -> str:
    if len(values) == 1:
        (value,) = values.values()
        if not isinstance(value, str):
            return _show(value)
    return ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items()
    )


def _ask(rng: random.Random, tool: _Tool, values: dict[str, Any]) -> str:
    """What the user says to have ``tool`` called with ``values``."""
    if tool.asks and rng.random() < 0.85:
        ask = _maybe_bare(rng, _fill(rng.choice(tool.asks), tool, values, on_off=True))
        return rng.choice(_WRAPPERS).replace("{name}", tool.name).replace("{ask}", ask)
    by_name = rng.random() < (0.6 if "_" in tool.name else 1.0)
    words = tool.name.replace("_", " ")
    if by_name:
        template = rng.choice(_BY_NAME if values else _BY_NAME_NO_ARGS)
    else:
        template = rng.choice(_BY_PURPOSE if values else _BY_PURPOSE_NO_ARGS)
    text = template.replace("{name}", tool.name)
    text = text.replace("{words}", _capital(words)).replace("{lower}", words)
    if "{bare}" in text:
        return text.replace("{bare}", _bare_args(values))
    return text.replace("{args}", _list_args(rng, tool, values)) if values else text


def _maybe_bare(rng: random.Random, text: str) -> str:
    return text if rng.random() < 0.9 else text.rstrip(".?")


def _run(
    rng: random.Random, tool: _Tool, values: dict[str, Any], value: Any = None
) -> tuple[str, Reply]:
    """A result of the tool and the answer that quotes it."""
    if value is None:
        if rng.random() < 0.05:
            problem = rng.choice(_PROBLEMS)
            if rng.random() < 0.5:
                problem = f"{problem} {invent.code(rng)}"
            content = rng.choice(_ERRORS).format(problem)
            return content, Reply(f"The tool failed: {problem}.", f"Error: {problem}.")
        value = tool.result(rng)
    shown = _show(value)
    sentence = _fill(tool.says, tool, values, shown, on_off=True)
    reply = Reply(sentence, f"{_capital(shown) if tool.result in (_sky, _status) else shown}.")
    roll = rng.random()
    if roll < 0.5:
        return shown, reply
    if roll < 0.7:
        found: dict[str, Any] = {tool.result_key: value}
        if rng.random() < 0.35 and values:
            name, argument = next(iter(values.items()))
            found = {name: argument, **found}
        elif rng.random() < 0.25:
            found["status"] = "ok"
        return json.dumps(found, ensure_ascii=False), reply
    if roll < 0.9:
        return sentence, reply
    return f"{_capital(tool.result_key.replace('_', ' '))}: {shown}", reply


def _call(tool: _Tool, values: dict[str, Any]) -> ToolCall:
    return ToolCall(tool.name, values)


def _joined(one: Reply, two: Reply) -> Reply:
    return Reply(f"{one.sentence} {two.sentence}", f"{one.short} {two.short}")


def _tool(rng: random.Random) -> _Tool:
    if rng.random() < 0.5:
        return _from_intent(rng, rng.choice(_INTENTS))
    return _generic(rng)


def _offer(rng: random.Random, first: _Tool) -> list[_Tool]:
    """The tools of a sample, ``first`` among them at its head; all differ in name and purpose."""
    tools = [first]
    size = len(str(first.schema()))
    for _ in range(rng.choices((0, 1, 2, 3), (40, 32, 19, 9))[0]):
        other = _tool(rng)
        size += len(str(other.schema()))
        if size > _LONGEST * 0.9:
            break
        if any(other.name == tool.name for tool in tools):
            continue
        if other.group and any(other.group == tool.group for tool in tools):
            continue
        tools.append(other)
    return tools


def _single(rng: random.Random, tool: _Tool) -> tuple[Exchange, Any]:
    values = _values(rng, tool)
    content, reply = _run(rng, tool, values)
    user = _ask(rng, tool, values)
    return Exchange(user, reply, (_call(tool, values),), (content,)), content


def _double(rng: random.Random, tools: list[_Tool]) -> Exchange:
    """Two calls in one turn: of one tool with two values, or of two tools."""
    first = tools[0]
    second = tools[1] if len(tools) > 1 and rng.random() < 0.6 else first
    if second is first and not first.params:
        return _single(rng, first)[0]
    one, two = _values(rng, first), _values(rng, second)
    if second is first and one == two:
        return _single(rng, first)[0]
    ends = ".?"
    ask_one = _ask(rng, first, one).rstrip(ends)
    if (
        second is first
        and len(one) == 1
        and one.keys() == two.keys()
        and not isinstance(next(iter(one.values())), bool)
        and rng.random() < 0.6
    ):
        shown_one, shown_two = _show(next(iter(one.values()))), _show(next(iter(two.values())))
        template = _ask(rng, first, one)
        plain = not any(mark in template for mark in "(\"'")
        if plain and template.count(shown_one) == 1 and shown_one not in first.name:
            joint = rng.choice(("{} and {}", "{} and then {}", "{} and also {}"))
            user = template.replace(shown_one, joint.format(shown_one, shown_two))
        else:
            user = f"{ask_one}, and {_ask(rng, second, two)}"
    else:
        link = rng.choice((" and ", ". Also: ", ", and then ", "? And ", ". ", "\n"))
        user = f"{ask_one}{link}{_ask(rng, second, two)}"
    result_one, reply_one = _run(rng, first, one)
    result_two, reply_two = _run(rng, second, two)
    calls = (_call(first, one), _call(second, two))
    return Exchange(user, _joined(reply_one, reply_two), calls, (result_one, result_two))


_FOLLOW_UPS = (
    "Now {name} with that and {args}.",
    "Use {name} on that result and {args}.",
    "Call {name} with the result and {args}.",
)
_FOLLOW_UPS_ALONE = (
    "Now call {name} with that.",
    "Use {name} on that result.",
    "Call {name} with the result.",
    "Now do {name} on it.",
    "Pass that to {name}.",
)


def _follow_up(rng: random.Random, tool: _Tool, value: Any) -> Exchange | None:
    """A call whose first argument is ``value``, the result before, where the types allow it."""
    if not tool.params or len(tool.params) > 2 or any(param.options for param in tool.params):
        return None
    kind = tool.params[0].kind
    is_int = isinstance(value, int) and not isinstance(value, bool)
    fits = (
        (kind == "integer" and is_int)
        or (kind == "number" and (is_int or isinstance(value, float)))
        or (kind == "string" and isinstance(value, str))
    )
    if not fits:
        return None
    values = {tool.params[0].name: value}
    if len(tool.params) == 2:
        second = tool.params[1]
        values[second.name] = second.value(rng)
        rest = {second.name: values[second.name]}
        shown = _show(rest[second.name])
        if isinstance(rest[second.name], bool):
            shown = f"{second.name} {shown}"
        user = rng.choice(_FOLLOW_UPS).replace("{name}", tool.name).replace("{args}", shown)
    else:
        user = rng.choice(_FOLLOW_UPS_ALONE).replace("{name}", tool.name)
    content, reply = _run(rng, tool, values)
    return Exchange(user, reply, (_call(tool, values),), (content,))


_NO_TOOL = Reply("I have no tool for that.", "I have no tool for that.")
_GREETINGS = _split("Hi|Hello|Hey|Good morning|Good evening|hi|hello|Hi there|Hello there|Hey you")
_THANKS = _split("Thanks|Thank you|Thanks a lot|Great, thanks|Thank you very much|thx")
_BYES = _split("Bye|Goodbye|See you|Good night|See you later")


def _no_call(rng: random.Random, tools: list[_Tool]) -> Exchange:
    """A turn that no tool fits: a greeting, thanks, a name, or something that is not offered."""
    roll = rng.random()
    mark = rng.choice(("!", ".", ""))
    name = invent.first_name(rng)
    if roll < 0.14:
        hello = Reply("Hello! How can I help you?", "Hello!")
        return Exchange(rng.choice(_GREETINGS) + mark, hello)
    if roll < 0.26:
        greeting = f"{rng.choice(_GREETINGS)}, {rng.choice(('I am', 'my name is', 'this is'))}"
        hello = Reply(f"Hello {name}! How can I help you?", f"Hello {name}!")
        return Exchange(f"{greeting} {name}{mark or '.'}", hello)
    if roll < 0.36:
        return Exchange(rng.choice(_THANKS) + mark, Reply("You are welcome!", "You are welcome!"))
    if roll < 0.42:
        return Exchange(rng.choice(_BYES) + mark, Reply("Goodbye!", "Goodbye!"))
    if roll < 0.54:
        person = invent.person_any(rng)
        user = rng.choice(("My name is {}. What is my name?", "I am called {}. Who am I?"))
        return Exchange(user.format(person), Reply(f"Your name is {person}.", f"{person}."))
    names = {tool.name for tool in tools}
    groups = {tool.group for tool in tools}
    for _ in range(8):
        # Only an everyday purpose can be told from the offered tools by anyone.
        other = _from_intent(rng, rng.choice(_INTENTS))
        if other.name in names or other.group in groups or other.group == "search":
            continue
        words = set(other.name.split("_"))
        if any(words.intersection(name.split("_")) for name in names):
            continue
        ask = rng.choice([a for a in other.asks if "{name}" not in a])
        return Exchange(_fill(ask, other, _values(rng, other), on_off=True), _NO_TOOL)
    return Exchange(rng.choice(_THANKS) + mark, Reply("You are welcome!", "You are welcome!"))


def _length(exchange: Exchange) -> int:
    calls = sum(len(str(call.arguments)) + len(call.name) + 60 for call in exchange.calls)
    results = sum(len(result) + 30 for result in exchange.results)
    return len(exchange.user) + len(exchange.reply.sentence) + calls + results


def tool_sample(rng: random.Random) -> Sample:
    """A dialogue with one to four tools offered.

    The mixture: 12 % where no tool fits (greetings, thanks, requests for what is not offered) and
    the answer is text; 10 % two calls in one turn; 9 % two exchanges with calls of different
    values; 9 % a second exchange whose call takes the first one's result (where types allow it);
    4 % a call and then a turn that needs none; else one call. Half of the tools have everyday
    purposes (weather, sums, orders), half are random names with random parameters. Results are a
    plain value, a JSON object, a sentence or (5 %) an error; replies quote the result's value.
    """
    first = _tool(rng)
    tools = _offer(rng, first)
    roll = rng.random()
    exchanges: list[Exchange] = []
    if roll < 0.12:
        exchanges.append(_no_call(rng, tools))
        if rng.random() < 0.2:
            exchanges.append(_single(rng, first)[0])
    elif roll < 0.22:
        exchanges.append(_double(rng, tools))
    elif roll < 0.31:
        exchanges.append(_single(rng, first)[0])
        exchanges.append(_single(rng, rng.choice(tools))[0])
    elif roll < 0.40:
        values = _values(rng, first)
        value = first.result(rng)
        content, reply = _run(rng, first, values, value)
        user = _ask(rng, first, values)
        exchanges.append(Exchange(user, reply, (_call(first, values),), (content,)))
        for tool in tools[::-1]:
            follow = _follow_up(rng, tool, value)
            if follow is not None:
                exchanges.append(follow)
                break
    else:
        exchanges.append(_single(rng, first)[0])
        if rng.random() < 0.07:
            exchanges.append(_no_call(rng, tools))
    schemas = [tool.schema() for tool in tools]
    size = sum(len(str(schema)) for schema in schemas) + _length(exchanges[0])
    if len(exchanges) > 1 and size + _length(exchanges[1]) > _LONGEST:
        exchanges.pop()
    rng.shuffle(schemas)
    return Sample(tuple(exchanges), _system(rng), tuple(schemas))


_FIELDS: tuple[tuple[str, str, _Maker], ...] = (
    ("name", "string", invent.person_any),
    ("age", "integer", _small(1, 99)),
    ("city", "string", invent.place_any),
    ("company", "string", invent.company),
    ("email", "string", invent.email),
    ("birthday", "string", invent.date),
    ("date", "string", invent.date),
    ("time", "string", invent.time_of_day),
    ("price", "string", invent.price),
    ("price", "number", _amount),
    ("amount", "number", _amount),
    ("quantity", "integer", invent.integer),
    ("product", "string", invent.product),
    ("color", "string", lambda rng: rng.choice(invent.COLOURS)),
    ("pet", "string", invent.pet),
    ("code", "string", invent.code),
    ("order_id", "string", invent.code),
    ("year", "integer", _small(1700, 2039)),
    ("address", "string", invent.street),
    ("topic", "string", lambda rng: invent.phrase(rng, 1, 3)),
    ("title", "string", lambda rng: invent.phrase(rng, 2, 4)),
    ("author", "string", invent.person),
    ("country", "string", invent.capitalised),
    ("height", "number", _amount),
    ("score", "integer", _small(0, 100)),
    ("answer", "string", lambda rng: invent.phrase(rng, 1, 3)),
    ("status", "string", _status),
    ("language", "string", _pick(_LANGUAGES)),
    ("tags", "array", lambda rng: [invent.word(rng, 1, 2) for _ in range(rng.randint(2, 3))]),
    ("names", "array", lambda rng: [invent.first_name(rng) for _ in range(rng.randint(2, 3))]),
    ("active", "boolean", lambda rng: rng.random() < 0.5),
)

_NATURAL: tuple[tuple[tuple[int, ...], tuple[str, ...]], ...] = (
    ((0, 1), ("{0} is {1}.", "{0} is {1} years old.", "Meet {0}, aged {1}.", "{0} ({1})")),
    ((0, 2), ("{0} lives in {1}.", "{0} is from {1}.", "In {1} there is a certain {0}.")),
    ((0, 1, 2), ("{0} is {1} and lives in {2}.", "{0}, {1}, from {2}.", "{0} ({1}) lives in {2}.")),
    ((0, 3), ("{0} works at {1}.", "{1} employs {0}.", "{0} is with {1}.")),
    ((0, 4), ("{0} can be reached at {1}.", "Write to {0} at {1}.")),
    ((0, 5), ("{0} was born on {1}.", "The birthday of {0} is {1}.")),
    ((12, 9), ("The {0} costs {1}.", "I paid {1} for the {0}.", "{0}: {1} euros.")),
    ((12, 13), ("The {0} is {1}.", "I have a {1} {0}.")),
    ((20, 21), ('"{0}" was written by {1}.', "{1} wrote {0}.")),
    ((0, 14), ("{0} has a dog called {1}.", "The pet of {0} is {1}.")),
    ((16, 26), ("Order {0} is {1}.", "The status of order {0} is {1}.")),
    ((11, 12), ("Please send {0} pieces of the {1}.", "I want {0} of {1}.")),
    ((0, 6, 7), ("{0} comes on {1} at {2}.", "Meet {0} on {1}, {2}.")),
    ((2, 22), ("{0} is in {1}.", "{0} is a town in {1}.")),
)

_JSON_ASKS = (
    "Give me the {and} as JSON: {fact}",
    "Extract the {and} as JSON.\n{fact}",
    "Extract the {and} as JSON: {fact}",
    "{fact}\nGive me JSON with the keys {keys}.",
    "{fact} Answer with a JSON object with keys {keys}.",
    "Return JSON with {keys}.\n\n{fact}",
    "Answer in JSON with the keys {keys}. {fact}",
    "Turn this into JSON ({keys}): {fact}",
    "JSON with {keys}, please: {fact}",
    "Extract information from this text as JSON with the fields {quoted}.\n\n{fact}",
    "{fact}\n\nFormat: {schema}",
    "Respond only with JSON like {schema}.\n{fact}",
    "Text: {fact}\nSchema: {schema}\nJSON:",
    "Fill in {schema} from: {fact}",
)
_JSON_SYSTEMS = (
    "Answer with JSON: {schema}",
    "Extract the {and} from the text as JSON.",
    "Always answer with a JSON object with the keys {keys}.",
    "You extract data. Output JSON with {quoted}.",
    "Respond in JSON. Schema: {props}",
)


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def structured_sample(rng: random.Random) -> Sample:
    """A JSON answer without tools: a fact and the wanted keys, and exactly that JSON object.

    One field in sixteen is asked for but not told: its value is null.
    """
    record: dict[str, Any] = {}
    kinds: dict[str, str] = {}
    if rng.random() < 0.5:
        indices, frames = rng.choice(_NATURAL)
        shown = []
        for index in indices:
            key, kind, maker = _FIELDS[index]
            record[key] = maker(rng)
            kinds[key] = kind
            shown.append(_show(record[key]))
        fact = rng.choice(frames)
        for place, text in enumerate(shown):
            fact = fact.replace("{" + str(place) + "}", text)
        if rng.random() < 0.12:
            # A synonym of no known field: the keys are to be copied from the request.
            old = rng.choice(list(record))
            new = invent.word(rng, 1, 2) + "_" + old
            record = {new if key == old else key: value for key, value in record.items()}
            kinds[new] = kinds[old]
    else:
        for key, kind, maker in rng.sample(_FIELDS, rng.choice((1, 2, 2, 2, 3, 3, 4))):
            if key in record:
                continue
            if rng.random() < 0.15:
                key = f"{rng.choice(invent.NOUNS)}_{key}"
            record[key] = maker(rng)
            kinds[key] = kind
        form = rng.choice(
            ("the {0} is {1}", "{0}: {1}", "{0} = {1}", "{0} is {1}", "my {0} is {1}", "{0} {1}")
        )
        parts = []
        for key, value in record.items():
            text = ", ".join(value) if isinstance(value, list) else _show(value)
            if isinstance(value, bool):
                text = rng.choice(("yes", "true")) if value else rng.choice(("no", "false"))
            name = key.replace("_", " ")
            parts.append(form.replace("{0}", name).replace("{1}", text))
        rng.shuffle(parts)
        joiner = rng.choice(("; ", "\n", ", ", "; ", " and "))
        if any(isinstance(value, list) for value in record.values()):
            joiner = rng.choice(("; ", "\n"))
        fact = _capital(joiner.join(parts)) + rng.choice((".", ""))
    if rng.random() < 0.08:
        key, kind, _ = rng.choice(_FIELDS)
        if not any(key in known for known in record):
            record[key] = None
            kinds[key] = kind
    keys = list(record)
    if rng.random() < 0.2:
        rng.shuffle(keys)
    if len(keys) > 2 and rng.random() < 0.15:
        keys.pop()
    wanted = {key: record[key] for key in keys}
    fields = {
        "{and}": _listed(keys),
        "{keys}": rng.choice((", ".join(keys), _listed(keys))),
        "{quoted}": ", ".join(f'"{key}"' for key in keys),
        "{schema}": json.dumps({key: kinds[key] for key in keys}),
        "{props}": json.dumps(
            {"type": "object", "properties": {key: {"type": kinds[key]} for key in keys}}
        ),
    }
    system: str | None = None
    user = "{fact}"
    if rng.random() < 0.25:
        system = rng.choice(_JSON_SYSTEMS)
    else:
        user = rng.choice(_JSON_ASKS)
    for mark, text in fields.items():
        user = user.replace(mark, text)
        system = system.replace(mark, text) if system else None
    answer = json.dumps(wanted, ensure_ascii=False)
    exchange = Exchange(user.replace("{fact}", fact), Reply(answer, answer))
    return Sample((exchange,), system or _system(rng, 0.12))


_REPEATS = (
    "Repeat after me: {}",
    "Repeat: {}",
    "repeat after me: {}",
    "Say: {}",
    'Say "{}".',
    "Say {}",
    'Repeat this exactly: "{}"',
    "Spell back: {}",
    "Echo: {}",
    "Please repeat the following text: {}",
    "Copy this: {}",
    "Write exactly this and nothing else: {}",
    "Echo '{}'.",
    "Return the text unchanged: {}",
    "Repeat the next line.\n{}",
    "Reply with {} only.",
    "Answer with exactly: {}",
    "{}\n\nRepeat the text above.",
    "{}\nRepeat that.",
)
_SAID = (
    "What did I just say? '{}'",
    'What did I just say? "{}"',
    'I said "{}". What did I say?',
    "{}. What did I just say?",
)
_REMEMBER = (
    "Remember this: the {0} is {1}.",
    "The {0} is {1}.",
    "My {0} is {1}.",
    "Please note that the {0} is {1}.",
    "Keep in mind: {0} = {1}.",
    "For later: the {0} is {1}.",
)
_RECALL = (
    "What is the {0}?",
    "What was the {0}?",
    "Which {0} did I tell you?",
    "Tell me the {0} again.",
    "Do you remember the {0}?",
)
_OK = Reply("OK, I will remember that.", "OK.")


def _text(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.65:
        return invent.anything(rng)
    if roll < 0.85:
        return f"{invent.anything(rng)} {invent.anything(rng)}"
    if roll < 0.93:
        return " ".join(invent.word(rng, 1, 3) for _ in range(rng.randint(2, 5)))
    return ", ".join(invent.anything(rng) for _ in range(3))


def copy_sample(rng: random.Random) -> Sample:
    """Pure copying: repeat this, what did I just say, what was the value that I told you."""
    roll = rng.random()
    system = _system(rng, 0.15)
    if roll < 0.5:
        exchanges = []
        for _ in range(2 if rng.random() < 0.15 else 1):
            text = _text(rng)
            exchanges.append(Exchange(rng.choice(_REPEATS).replace("{}", text), Reply(text, text)))
        return Sample(tuple(exchanges), system)
    if roll < 0.62:
        text = _text(rng)
        reply = Reply(f'You said "{text}".', text)
        return Sample((Exchange(rng.choice(_SAID).replace("{}", text), reply),), system)
    if roll < 0.7:
        text = _text(rng)
        again = rng.choice(("What did I just say?", "What did I say?", "Repeat what I said."))
        said = Exchange(again, Reply(f'You said "{text}".', text))
        return Sample((Exchange(text, _OK), said), system)
    names = rng.sample(invent.NOUNS, 2)
    pairs = [(name.replace("_", " "), _show(invent.anything(rng))) for name in names]
    told = pairs if rng.random() < 0.45 else pairs[:1]
    frame = rng.choice(_REMEMBER)
    text = " ".join(frame.replace("{0}", name).replace("{1}", value) for name, value in told)
    name, value = rng.choice(told)
    recall = rng.choice(_RECALL).replace("{0}", name)
    reply = Reply(f"The {name} is {value}.", f"{value}.")
    if "My {0}" in frame:
        recall = recall.replace("the ", "my ", 1)
        reply = Reply(f"Your {name} is {value}.", f"{value}.")
    if rng.random() < 0.5:
        return Sample((Exchange(f"{text} {recall}", reply),), system)
    return Sample((Exchange(text, _OK), Exchange(recall, reply)), system)
