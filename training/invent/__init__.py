"""Fresh values for the training data: names, numbers, dates, codes, phrases nobody has seen.

Every maker is a pure function but for the ``random.Random`` that it is given. Knows nothing of
dialogues.
"""

from training.invent.mixed import anything as anything
from training.invent.mixed import person_any as person_any
from training.invent.mixed import sky as sky
from training.invent.mixed import status as status
from training.invent.names import capitalised as capitalised
from training.invent.names import first_name as first_name
from training.invent.names import function_name as function_name
from training.invent.numbers import code as code
from training.invent.values import Maker as Maker
from training.invent.values import maker as maker
from training.invent.words import gibberish as gibberish
from training.invent.words import phrase as phrase
from training.invent.words import word as word
from training.invent.words import word_list as word_list
