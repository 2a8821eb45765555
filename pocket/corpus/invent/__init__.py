"""Fresh values for the training data: names, numbers, dates, codes, phrases nobody has seen.

Every maker is a pure function but for the ``random.Random`` that it is given. Knows nothing of
dialogues.
"""

from pocket.corpus.invent.mixed import anything as anything
from pocket.corpus.invent.mixed import person_any as person_any
from pocket.corpus.invent.mixed import sky as sky
from pocket.corpus.invent.mixed import status as status
from pocket.corpus.invent.names import capitalised as capitalised
from pocket.corpus.invent.names import first_name as first_name
from pocket.corpus.invent.names import function_name as function_name
from pocket.corpus.invent.numbers import code as code
from pocket.corpus.invent.values import Maker as Maker
from pocket.corpus.invent.values import maker as maker
from pocket.corpus.invent.words import gibberish as gibberish
from pocket.corpus.invent.words import phrase as phrase
from pocket.corpus.invent.words import word as word
from pocket.corpus.invent.words import word_list as word_list
