"""Fresh values for the training data: names, numbers, dates, codes, phrases nobody has seen.

Every maker is a pure function but for the ``random.Random`` that it is given. Knows nothing of
dialogues.
"""

from pocket.corpus.invent.mixed import anything, person_any, sky, status
from pocket.corpus.invent.names import capitalised, first_name, function_name
from pocket.corpus.invent.numbers import code
from pocket.corpus.invent.values import Maker, maker
from pocket.corpus.invent.words import gibberish, phrase, word, word_list

__all__ = [
    "Maker",
    "anything",
    "capitalised",
    "code",
    "first_name",
    "function_name",
    "gibberish",
    "maker",
    "person_any",
    "phrase",
    "sky",
    "status",
    "word",
    "word_list",
]
