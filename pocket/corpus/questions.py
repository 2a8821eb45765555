"""How people ask: phrasings of questions about a topic, and of wishes for a style.

``held_out`` selects phrasings that training never sees. Knows nothing of answers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from pocket.corpus.styles import CONTRADICTIONS
from pocket.corpus.wording import sentence
from pocket.corpus.world import STYLES, Topic, World

# The words of advice in these styles come in no other: they take more practice to be sure of.
HARDER = frozenset({"concise", "plain"})

ASK_FRAMES = (
    "How do I {}?", "How can I {}?", "How could I {}?", "how to {}", "How should I {}?",
    "What should I do to {}?", "What is the best way to {}?", "What's a good way to {}?",
    "I want to {}. What should I do?", "I want to {}.", "I would like to {}. Any tips?",
    "Can you help me {}?", "Could you tell me how to {}?", "Please tell me how to {}.",
    "I am trying to {}. What helps?", "Help me {}.", "What do I need to do to {}?",
    "Do you know how I can {}?", "Give me advice on how to {}.", "Explain how to {}.",
    "I need to {}, what do you suggest?", "My plan is to {}. Where do I start?",
    "What can I do to {}?", "I have never managed to {}. How does one do it?",
    "I'd love to {}. What can you tell me?", "It would be great to {}. Any ideas?",
    "I struggle to {}. What could I try?", "Tips to {}?", "Any good ways to {}?",
    "My friend wants to {}. What do you suggest?", "Suggest ways to {}.", "help me {} please",
    "What is needed to {}?", "Could you teach me to {}?", "I hope to {}. What is important?",
    "Where do I begin if I want to {}?", "What do you advise to {}?", "Is it hard to {}?",
    "Some advice on how to {}, please.", "Do you have any idea how to {}?", "I plan to {} soon.",
    "What would help me {}?", "Guide me: how do I {}?", "How does one {}?", "best way to {}?",
    "Let me know how to {}.", "I have to {}. What now?", "Might you help me {}?",
    "Is there a good way to {}?", "Teach me how to {}.", "how do i {}", "How might I {}?",
)  # fmt: skip
NOUN_FRAMES = (
    "Any tips for {}?", "What helps with {}?", "What should I know about {}?",
    "Tell me about {}.", "I need advice on {}.", "Do you have some advice on {}?",
    "What do you recommend when it comes to {}?", "I have a question about {}.",
    "Give me a few tips on {}.", "What are your thoughts on {}?", "Help me with {}.",
    "What matters most with {}?", "Any ideas about {}?", "What can you tell me about {}?",
    "Do you know anything about {}?", "tips on {}", "Let's talk about {}.", "Some help with {}?",
    "I would like advice about {}.", "Got a minute for {}?",
)  # fmt: skip
HELD_OUT_ASK_FRAMES = (
    "What would you do to {}?", "I really want to {}. What would you advise?",
    "What steps should I take to {}?", "Would you show me how to {}?",
    "Any idea how I can {}?", "I wish I could {}. What works?",
)  # fmt: skip
HELD_OUT_NOUN_FRAMES = ("What advice do you have about {}?", "Got any tips on {}?")

LEADS = ("Hi, ", "Hello! ", "Hey, ", "Good morning. ", "Quick question: ", "Please help. ")
WHY = ("Why?", "Why is that?", "Why does that help?", "And why?", "How does that help?",
       "What is the reason for that?", "Why do you say so?")  # fmt: skip
MORE = (
    "Tell me one more thing about it.", "Any fun fact about this?",
    "What else is there to know?", "Do you know a fact about it?",
    "Anything else you know about that?", "Tell me something interesting about it.",
)  # fmt: skip
ADJECTIVE_FRAMES = (
    "Be {}.", "Please be {}.", "I like {} answers.", "Give me {} replies.", "{} please",
    "Your answer should be {} as much as possible.", "Answer in a {} way.", "Make it {}.",
    "The user likes {} answers.", "Keep it {}.", "Use a {} tone.", "I'd like something {}.",
    "{}", "more {}", "Could you be more {}?", "Try to be {}.", "Write something {}.",
    "in a {} style", "Answer me in a {} style.", "Always be {}.", "Can you be {} with me?",
    "{} answers, please.", "I prefer {} replies.", "Your replies should be {}.", "be very {}",
)  # fmt: skip
WISHES = ("{}", "{}", "{}", "User preference: {}", "The user asked: {}", "Style: {}")


def ask(topic: Topic, rng: random.Random, held_out: bool = False) -> str:
    """A how-to question about the topic."""
    asks = HELD_OUT_ASK_FRAMES if held_out else ASK_FRAMES
    nouns = HELD_OUT_NOUN_FRAMES if held_out else NOUN_FRAMES
    if rng.random() < 0.75:
        question = rng.choice(asks).format(rng.choice(topic.asks))
    else:
        question = rng.choice(nouns).format(topic.noun)
    return question if held_out else lead(question, rng)


def lead(question: str, rng: random.Random) -> str:
    """The question, one time in six with a greeting before it."""
    if rng.random() > 1 / 6:
        return question
    opening = rng.choice(LEADS)
    tail = question if opening.rstrip()[-1] in "!." else question[0].lower() + question[1:]
    return opening + (question if question.startswith("I ") else tail)


def pick_styles(rng: random.Random) -> frozenset[str]:
    """One style, or one time in six a pair that doesn't contradict itself."""
    drawn = rng.sample(STYLES, 2, counts=[2 if style in HARDER else 1 for style in STYLES])
    styles = frozenset(drawn[: 2 if rng.random() < 1 / 6 else 1])
    return frozenset({min(styles)}) if styles in CONTRADICTIONS else styles


def wish(styles: frozenset[str], world: World, rng: random.Random, held_out: bool = False) -> str:
    """A preference in free words that asks for the styles, in random order."""
    order = sorted(styles)
    rng.shuffle(order)
    if held_out:
        return _together([rng.choice(world.styles[style].held_out) for style in order])
    if len(order) > 1 and rng.random() < 0.6:
        text = _joint(order, world, rng)
    else:
        text = _together([_single(style, world, rng) for style in order])
    return rng.choice(WISHES).format(_carelessly(text, rng))


def _together(wordings: Sequence[str]) -> str:
    return wordings[0] if len(wordings) == 1 else " ".join(map(sentence, wordings))


def _single(style: str, world: World, rng: random.Random) -> str:
    words = world.styles[style]
    if rng.random() < 0.3:
        return rng.choice(ADJECTIVE_FRAMES).format(rng.choice(words.adjectives))
    return rng.choice(words.requests)


def _carelessly(text: str, rng: random.Random) -> str:
    """The text, sometimes as people type in a hurry: small letters, no full stop."""
    if rng.random() < 0.12:
        text = text.lower()
    return text.rstrip(".") if rng.random() < 0.15 else text


def _joint(styles: Sequence[str], world: World, rng: random.Random) -> str:
    first, second = (rng.choice(world.styles[style].adjectives) for style in styles)
    frame = rng.choice(
        ("Be {} and {}.", "Your answer should be {} and {}.", "{} and {} answers please",
         "I like answers that are {} and {}.", "Write in a {} and {} way.")
    )  # fmt: skip
    return frame.format(first, second)
