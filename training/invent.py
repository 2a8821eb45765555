"""Fresh strings for the training data: names, places, numbers, dates, codes, phrases.

Every function is pure but for the ``random.Random`` that it is given.
"""

from __future__ import annotations

import random


def _words(text: str, separator: str | None = None) -> tuple[str, ...]:
    return tuple(text.split(separator))


FIRST_NAMES: tuple[str, ...] = _words(
    "Anna Ben Clara David Emma Felix Grace Henry Ida Jack Kate Leo Maria Noah Olivia Paul Quinn "
    "Rosa Sam Tom Uma Victor Wendy Xavier Yara Zoe Alice Bob Carol Dan Eve Frank Gina Hugo Ines "
    "James Karen Liam Mia Nina Oscar Petra Ravi Sara Tim Ursula Vera Will Yusuf Zara Adam Bella "
    "Carlos Diana Erik Fatima George Hannah Ivan Julia Kevin Laura Mark Nora Otto Priya Robert "
    "Sofia Theo Viktor Aisha Boris Chloe Dmitri Elena Finn Greta Hiro Irene Jonas Kenji Lena "
    "Marco Nadia Omar Pablo Rita Stefan Tara Vikram Wei Yuki Amir Bruno Celia Diego Ella Freya "
    "Gustav Helga Isaac Jane Klaus Lucia Milan Naomi Olga Peter Rachel Simon Tanya Walter Alan "
    "Beth Chris Dora Edward Fiona Gabriel Helen Igor Joan Kofi Lucas Maya Nathan Opal Patrick "
    "Ruth Susan Thomas Vivian William Amara Brian Cora Derek Esther Fred Gloria Harold Ivy John "
    "Kira Lars Mira Nils Pia Ralph Sven Tess Ulf Yan Alex Harrison Sally Bobby Erick Nick Jason "
    "Chester Luke Jim Michael Sarah"
)

CITIES: tuple[str, ...] = _words(
    "Oslo|Bergen|Paris|Lyon|Berlin|Munich|Hamburg|Vienna|Graz|Zurich|Geneva|Basel|Rome|Milan|"
    "Turin|Naples|Madrid|Seville|Lisbon|Porto|London|Leeds|York|Bristol|Dublin|Cork|Edinburgh|"
    "Glasgow|Cardiff|Brussels|Ghent|Amsterdam|Utrecht|Copenhagen|Aarhus|Stockholm|Malmo|Helsinki|"
    "Turku|Tallinn|Riga|Vilnius|Warsaw|Krakow|Prague|Brno|Budapest|Belgrade|Zagreb|Sofia|Athens|"
    "Istanbul|Ankara|Cairo|Tunis|Lagos|Accra|Nairobi|Dakar|Kampala|Cape Town|Durban|Tel Aviv|"
    "Amman|Beirut|Dubai|Doha|Riyadh|Tehran|Kabul|Karachi|Lahore|Delhi|Mumbai|Chennai|Kolkata|"
    "Dhaka|Colombo|Bangkok|Hanoi|Manila|Jakarta|Singapore|Kuala Lumpur|Hong Kong|Taipei|Seoul|"
    "Busan|Tokyo|Osaka|Kyoto|Nagoya|Sapporo|Beijing|Shanghai|Wuhan|Xi'an|Sydney|Perth|Melbourne|"
    "Brisbane|Auckland|Wellington|Toronto|Montreal|Vancouver|Calgary|Ottawa|New York|Boston|"
    "Chicago|Seattle|Portland|Denver|Dallas|Austin|Houston|Miami|Atlanta|Phoenix|San Diego|"
    "Los Angeles|San Francisco|Las Vegas|Detroit|Memphis|Nashville|Mexico City|Havana|Bogota|"
    "Quito|Lima|Santiago|Buenos Aires|Montevideo|Rio de Janeiro|Recife|Caracas|Panama City|"
    "Moscow|Kyiv|Odessa|Minsk|Tbilisi|Yerevan|Baku|Reykjavik|Nice|Bordeaux|San Francisco, CA|"
    "Boston, MA|Austin, TX|Paris, France|Rome, Italy|Valencia|Salzburg",
    "|",
)

VERBS: tuple[str, ...] = _words(
    "get find search fetch look_up check list read load show count compute calculate add "
    "multiply convert translate send create make build book order cancel delete remove update "
    "set change start stop open close play pause save store export import parse validate verify "
    "compare sort filter merge split rank score predict estimate measure track monitor schedule "
    "plan reserve buy sell pay refund rate review approve reject assign notify call print scan "
    "upload download encode decode lock unlock query resolve summarize"
)

NOUNS: tuple[str, ...] = _words(
    "weather forecast temperature time date calendar event meeting reminder alarm timer note "
    "task project ticket issue order invoice receipt payment refund price cost tax discount "
    "budget salary account balance card loan rate currency stock share fund market product item "
    "cart catalog stock_level warehouse shipment parcel delivery package route map distance "
    "address location city country region street building room hotel flight train bus taxi trip "
    "seat table restaurant menu recipe meal ingredient drink coffee pizza bread fruit garden "
    "plant flower tree animal dog cat bird horse fish user customer client employee manager team "
    "contact friend guest member patient doctor nurse hospital clinic drug dose test result "
    "report document file folder page text word sentence letter email message chat comment post "
    "article book chapter author library song album playlist artist movie film actor show game "
    "score level player match league photo image picture video audio voice sound color shape "
    "size weight height length width area volume speed number sum product_code root factor prime "
    "matrix vector graph node edge path tree_depth list queue stack key value token secret "
    "password session login server host port database row column query_log index cache log error "
    "warning status state mode setting option config version release branch commit build license "
    "device sensor lamp light door window heater fan camera phone printer battery engine car "
    "bike boat truck road bridge tunnel station airport harbor lake river mountain island planet "
    "star moon orbit magic puzzle riddle joke quote fact story poem name title label tag "
    "category topic quiz question answer grade class course school student teacher exam job "
    "company office contract policy vote survey"
)

COMMON_WORDS: tuple[str, ...] = _words(
    "red blue green old new small large quiet loud warm cold dark bright slow fast early late "
    "open empty broken silver wooden paper stone river garden window door table chair lamp bread "
    "butter coffee tea apple lemon orange onion rice salt sugar honey cat dog bird fish horse "
    "cow sheep rabbit cloud rain snow wind storm sun moon star hill road bridge train boat car "
    "bike ticket letter book page pencil music song dance story game ball shoe coat hat glove "
    "bag box key clock map phone camera picture market kitchen school office hotel park beach "
    "forest island winter summer morning evening lunch dinner soup cake plan report meeting "
    "price order friend neighbor doctor teacher farmer baker sailor driver painter singer engine "
    "battery cable button screen travel budget holiday health history science math art weather "
    "traffic news"
)

MONTHS: tuple[str, ...] = _words(
    "January February March April May June July August September October November December"
)

WEEKDAYS: tuple[str, ...] = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")

COLOURS: tuple[str, ...] = _words(
    "red blue green yellow orange purple pink brown black white grey silver golden turquoise beige "
    "violet crimson navy teal maroon"
)

_ONSETS = _words(
    "b c d f g h j k l m n p r s t v w y z br bl ch cl cr dr fl fr gl gr kr pl pr qu sh sk sl st th "
    "tr tw vr zh"
)
_VOWELS = _words("a e i o u a e i o u a e i o ai au ea ee ia io oo ou y")
_CODAS = ("",) * 22 + _words("n r l s m k t x d nd rk st lm ng rt ck ss th")
_SURNAME_ENDS = _words("son sen er ski ov man well ton berg ley field wood stein ez ini ard ock is")
_PLACE_ENDS = _words(
    "ton ville burg ford ham stad by holm wick field port dale mouth haven grad moor berg"
)
_COMPANY_ENDS = _words(
    "Ltd Inc Group Labs Systems Foods Motors Bank Energy Partners Software Media Robotics"
)
_STREET_ENDS = ("Street", "Road", "Lane", "Avenue", "Square", "Way", "Alley", "Drive")
_ACCENTS = {
    "a": "áàâäãå",
    "e": "éèêëę",
    "i": "íîïì",
    "o": "óôöõø",
    "u": "úûüů",
    "n": "ñń",
    "c": "çčć",
    "s": "šśş",
    "z": "žźż",
    "y": "ýÿ",
    "l": "ł",
    "r": "ř",
}
_CYRILLIC = "абвгдежзиклмнопрстуфхцчшыьэюя"
_GREEK = "αβγδεζηθικλμνξοπρστυφχψω"


def word(rng: random.Random, low: int = 1, high: int = 3) -> str:
    """An invented lowercase word of ``low`` to ``high`` syllables."""
    choice = rng.choice
    syllables = [choice(_ONSETS) + choice(_VOWELS) for _ in range(rng.randint(low, high))]
    return "".join(syllables) + choice(_CODAS)


def capitalised(rng: random.Random, low: int = 2, high: int = 3) -> str:
    """An invented word with a capital."""
    return word(rng, low, high).capitalize()


def first_name(rng: random.Random) -> str:
    """A first name, real or invented."""
    return rng.choice(FIRST_NAMES) if rng.random() < 0.55 else capitalised(rng, 1, 3)


def surname(rng: random.Random) -> str:
    """An invented surname."""
    if rng.random() < 0.5:
        return (word(rng, 1, 2) + rng.choice(_SURNAME_ENDS)).capitalize()
    return capitalised(rng)


def person(rng: random.Random) -> str:
    """A person's full name, now and then with an initial or a title."""
    roll = rng.random()
    if roll < 0.06:
        return f"{first_name(rng)} {rng.choice('ABCDEFGHJKLMNPRSTVW')}. {surname(rng)}"
    if roll < 0.12:
        return f"{first_name(rng)} {surname(rng)}-{surname(rng)}"
    return f"{first_name(rng)} {surname(rng)}"


def person_any(rng: random.Random) -> str:
    """A first name or a full name, now and then not ASCII."""
    roll = rng.random()
    if roll < 0.4:
        return first_name(rng)
    return accented(rng) if roll < 0.46 else person(rng)


def city(rng: random.Random) -> str:
    """A real city."""
    return rng.choice(CITIES)


def place(rng: random.Random) -> str:
    """An invented town."""
    roll = rng.random()
    if roll < 0.45:
        return (word(rng, 1, 2) + rng.choice(_PLACE_ENDS)).capitalize()
    if roll < 0.6:
        prefix = rng.choice(("New", "Old", "Port", "Saint", "North", "South", "Lake", "Upper"))
        return f"{prefix} {capitalised(rng)}"
    return capitalised(rng)


def place_any(rng: random.Random) -> str:
    """A city, real or invented, now and then not ASCII."""
    roll = rng.random()
    if roll < 0.45:
        return city(rng)
    return non_ascii(rng) if roll < 0.5 else place(rng)


def company(rng: random.Random) -> str:
    """An invented company."""
    roll = rng.random()
    if roll < 0.55:
        return f"{capitalised(rng)} {rng.choice(_COMPANY_ENDS)}"
    if roll < 0.75:
        return f"{surname(rng)} & {surname(rng)}"
    return capitalised(rng)


def product(rng: random.Random) -> str:
    """An invented product."""
    roll = rng.random()
    if roll < 0.5:
        return f"{capitalised(rng)} {rng.randint(1, 990)}"
    if roll < 0.75:
        return f"{capitalised(rng)} {rng.choice(('Pro', 'Mini', 'Max', 'Air', 'Plus', 'One'))}"
    return f"{rng.choice('ABCDEFGHKLMPRSTVXZ')}{rng.randint(1, 99)} {capitalised(rng)}"


def pet(rng: random.Random) -> str:
    """An invented pet's name."""
    return capitalised(rng, 1, 2)


def street(rng: random.Random) -> str:
    """An invented address in a street: a number and the street, or the other way round."""
    name = f"{capitalised(rng)} {rng.choice(_STREET_ENDS)}"
    number = rng.randint(1, 299)
    return f"{number} {name}" if rng.random() < 0.75 else f"{name} {number}"


def function_name(rng: random.Random) -> str:
    """A snake_case function name of one to four parts."""
    roll = rng.random()
    if roll < 0.08:
        return word(rng, 2, 3)
    if roll < 0.14:
        return rng.choice(NOUNS)
    if roll < 0.62:
        return f"{rng.choice(VERBS)}_{rng.choice(NOUNS)}"
    if roll < 0.76:
        return f"{rng.choice(VERBS)}_{rng.choice(NOUNS)}_{rng.choice(NOUNS)}"
    if roll < 0.86:
        return f"{rng.choice(VERBS)}_{word(rng, 1, 3)}"
    if roll < 0.94:
        return f"{word(rng, 1, 3)}_{rng.choice(NOUNS)}"
    return f"{rng.choice(VERBS)}_{word(rng, 1, 2)}_{rng.choice(NOUNS)}"


def year(rng: random.Random) -> str:
    """A year."""
    return str(rng.randint(1650, 2039) if rng.random() < 0.6 else rng.randint(1900, 2029))


def iso_date(rng: random.Random) -> str:
    """A date as 2024-05-17."""
    return f"{rng.randint(1900, 2039)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


def date(rng: random.Random) -> str:
    """A date in one of several formats."""
    roll = rng.random()
    day, month, when = rng.randint(1, 28), rng.choice(MONTHS), rng.randint(1900, 2039)
    if roll < 0.25:
        return iso_date(rng)
    if roll < 0.45:
        return f"{day} {month} {when}"
    if roll < 0.65:
        return f"{month} {day}, {when}"
    if roll < 0.8:
        return f"{month} {day}"
    if roll < 0.9:
        return f"{day} {month}"
    return f"{day:02}/{rng.randint(1, 12):02}/{when}"


def time_of_day(rng: random.Random) -> str:
    """A time of day in one of several formats."""
    minute = rng.randint(0, 59) if rng.random() < 0.5 else rng.choice((0, 15, 30, 45))
    roll = rng.random()
    if roll < 0.6:
        return f"{rng.randint(0, 23):02}:{minute:02}"
    if roll < 0.85:
        return f"{rng.randint(1, 12)}:{minute:02} {rng.choice(('am', 'pm', 'AM', 'PM'))}"
    return f"{rng.randint(1, 12)} {rng.choice(('am', 'pm'))}"


def integer(rng: random.Random) -> int:
    """A positive integer of one to six digits, the short ones more often."""
    digits = rng.choice((1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6))
    return rng.randint(0 if digits == 1 else 10 ** (digits - 1), 10**digits - 1)


def signed(rng: random.Random) -> int:
    """An integer, one in six negative."""
    value = integer(rng)
    return -value if rng.random() < 0.17 else value


def floating(rng: random.Random) -> float:
    """A float with one to three decimals (never a whole number), one in ten negative."""
    whole = rng.randint(0, rng.choice((9, 99, 999, 9999)))
    decimals = rng.choice(("", "", "", str(rng.randint(0, 9)), f"{rng.randint(0, 99):02}"))
    value = float(f"{whole}.{decimals}{rng.randint(1, 9)}")
    return -value if rng.random() < 0.1 else value


def price(rng: random.Random) -> str:
    """A price with its currency."""
    roll = rng.random()
    amount = (
        f"{rng.randint(1, rng.choice((9, 99, 999)))}.{rng.randint(0, 99):02}"
        if rng.random() < 0.5
        else str(rng.randint(1, rng.choice((9, 99, 999, 9999))))
    )
    if roll < 0.45:
        return f"${amount}"
    if roll < 0.6:
        return f"€{amount}"
    if roll < 0.68:
        return f"£{amount}"
    return f"{amount} {rng.choice(('euros', 'dollars', 'crowns', 'EUR', 'USD', 'pounds'))}"


def code(rng: random.Random) -> str:
    """An identifier such as KX-482."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    head = "".join(rng.choice(letters) for _ in range(rng.randint(1, 4)))
    roll = rng.random()
    number = integer(rng)
    if roll < 0.5:
        return f"{head}-{number}"
    if roll < 0.65:
        return f"{head}{number}"
    if roll < 0.75:
        return f"#{number}"
    if roll < 0.85:
        return f"{number}{head}"
    if roll < 0.93:
        return f"{head}-{number}-{rng.choice(letters)}{rng.randint(0, 9)}"
    return "".join(rng.choice("0123456789abcdef") for _ in range(rng.randint(4, 8)))


def cjk(rng: random.Random) -> str:
    """Two to six random CJK characters, sometimes kana or hangul."""
    roll = rng.random()
    low, high = (0x4E00, 0x9FA0)
    if roll > 0.9:
        low, high = (0xAC00, 0xD7A0)
    elif roll > 0.78:
        low, high = (0x3042, 0x3090) if roll > 0.84 else (0x30A2, 0x30F0)
    return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(2, 6)))


def _accent(rng: random.Random, text: str) -> str:
    out = []
    for letter in text:
        options = _ACCENTS.get(letter.lower())
        if options and rng.random() < 0.35:
            other = rng.choice(options)
            letter = other.upper() if letter.isupper() else other
        out.append(letter)
    return "".join(out)


def accented(rng: random.Random) -> str:
    """A Latin name with accents, such as Zoë Müñoz."""
    return _accent(rng, f"{first_name(rng)} {surname(rng)}" if rng.random() < 0.6 else place(rng))


def _letters(rng: random.Random, alphabet: str) -> str:
    text = "".join(rng.choice(alphabet) for _ in range(rng.randint(3, 7)))
    return text.capitalize() if rng.random() < 0.7 else text


def cyrillic(rng: random.Random) -> str:
    """One or two Cyrillic words."""
    return " ".join(_letters(rng, _CYRILLIC) for _ in range(rng.choice((1, 1, 2))))


def greek(rng: random.Random) -> str:
    """A Greek word."""
    return _letters(rng, _GREEK)


def non_ascii(rng: random.Random) -> str:
    """A string with letters beyond ASCII."""
    roll = rng.random()
    if roll < 0.4:
        return accented(rng)
    if roll < 0.7:
        return cjk(rng)
    return cyrillic(rng) if roll < 0.88 else greek(rng)


def phrase(rng: random.Random, low: int = 2, high: int = 5) -> str:
    """A short lowercase phrase of common words, now and then with an invented one."""
    words = [rng.choice(COMMON_WORDS) for _ in range(rng.randint(low, high))]
    if rng.random() < 0.25:
        words[rng.randrange(len(words))] = word(rng, 1, 3)
    return " ".join(words)


def email(rng: random.Random) -> str:
    """An e-mail address."""
    return f"{word(rng, 1, 2)}@{word(rng, 1, 2)}.{rng.choice(('com', 'org', 'net', 'io'))}"


def anything(rng: random.Random) -> str:
    """A string of any of these kinds."""
    maker = rng.choice(
        (
            person, person, first_name, city, place, company, product, pet, street, function_name,
            date, time_of_day, price, code, code, phrase, phrase, email, word, non_ascii,
        )
    )  # fmt: skip
    if rng.random() < 0.12:
        return str(floating(rng) if rng.random() < 0.3 else signed(rng))
    return maker(rng)
