"""What is counted of traits: of two answers to one question, which has more."""

import pytest

from amulet_evals.scorers.trait_measures import MEASURES

PLAIN = "You need a pot. Put the plant in it. Water the plant each day."
MORE = {
    "concise": "Pot it and water it.",
    "formal": "It is advisable to obtain a pot. Furthermore, water is required.",
    "simple": "Get a pot. Put it in. Add a bit of water.",
    "warm": "I am so glad that you care! I hope you feel welcome.",
    "enthusiastic": "Get a pot! Put the plant in it! Hooray!",
    "creative": "A pot is like a house. Imagine a roof.",
    "lists": "# Plants\n- a pot\n- water",
    "emoji": "A pot 🪴 and water 💧.",
}
LESS = {
    "concise": PLAIN * 3,
    "formal": "Hey, it's just a pot. Get some stuff and you're good.",
    "simple": "Horticultural containment necessitates appropriately proportioned receptacles.",
}


@pytest.mark.parametrize("trait", MEASURES)
def test_an_answer_with_more_of_a_trait_has_the_higher_number(trait: str) -> None:
    measure = MEASURES[trait]
    more, plain = measure(MORE[trait]), measure(PLAIN)
    assert more is not None and plain is not None
    assert more > plain


@pytest.mark.parametrize("trait", LESS)
def test_an_answer_with_less_of_it_has_the_lower_number(trait: str) -> None:
    measure = MEASURES[trait]
    less, plain = measure(LESS[trait]), measure(PLAIN)
    assert less is not None and plain is not None
    assert less < plain


@pytest.mark.parametrize("trait", [each for each in MEASURES if each != "concise"])
def test_a_text_without_words_has_no_number_but_its_length(trait: str) -> None:
    assert MEASURES[trait]("") is None
