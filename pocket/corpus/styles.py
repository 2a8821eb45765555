"""Writing an answer in a style, fully or, as a prompted model would, only in part.

An answer is a sequence of **slots** (an opening, three pieces of advice, their reasons, a closing).
Every style claims some slots, and in each slot that a requested style claims a coin decides whether
it is obeyed. The coins are independent of each other, so what the answer says so far tells nothing
about the slots to come; and they are biased to 0.65 in some slots and to 0.35 in others, so that a
merely prompted model is half in style whether it decodes greedily or samples. What steering can do
is then measured against an answer in which every coin fell on the style's side.
Knows nothing of questions, chat templates or tokens.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from pocket.corpus.dialogue import Reply
from pocket.corpus.world import Tip, Topic, World

LIKELY, UNLIKELY = 0.65, 0.35
UNASKED = 0.01  # how often a slot falls into a style that nobody asked for

# P(slot in style | style requested); a slot that a style doesn't name is not its business.
OBEDIENCE: Mapping[str, Mapping[str, float]] = {
    "concise": {"bare0": LIKELY, "stop0": 0.25, "bare1": LIKELY, "stop1": 0.45, "short": 0.45},
    "verbose": {"open": UNLIKELY, "why0": LIKELY, "why1": LIKELY, "why2": UNLIKELY,
                "close": LIKELY},
    "creative": {"open": LIKELY, "tail0": UNLIKELY, "tail1": LIKELY, "tail2": UNLIKELY,
                 "close": UNLIKELY},
    "uplifting": {"open": LIKELY, "cheer0": UNLIKELY, "cheer1": LIKELY, "cheer2": UNLIKELY,
                  "close": UNLIKELY},
    "formal": {"open": UNLIKELY, "frame0": LIKELY, "frame1": UNLIKELY, "frame2": LIKELY,
               "close": UNLIKELY},
    "plain": {"open": UNLIKELY, "words0": LIKELY, "words1": UNLIKELY, "words2": LIKELY},
}  # fmt: skip
CONTRADICTIONS = (frozenset({"concise", "verbose"}), frozenset({"plain", "formal"}))

FRAMES = (
    ("It helps to {}", "A good start is to {}", "The main thing is to {}"),
    ("You can also {}", "It is wise to {} too", "Next, {}"),
    ("Another good idea is to {}", "And do not forget to {}", "Last, {}"),
)
FORMAL_FRAMES = (
    "It is advisable to {}",
    "Furthermore, one is encouraged to {}",
    "Finally, it is recommended to {}",
)


@dataclass(frozen=True)
class Coins:
    """Decides slot by slot which of the requested styles are obeyed.

    ``fully`` makes every coin fall on the style's side: the reference of a fully styled answer.
    """

    rng: random.Random
    requested: frozenset[str] = field(default_factory=frozenset)
    fully: bool = False

    def obeys(self, style: str, slot: str) -> bool:
        """Whether this slot of the answer is written in ``style``."""
        if style not in self.requested:
            return not self.fully and self.rng.random() < UNASKED
        return self.fully or self.rng.random() < OBEDIENCE[style][slot]


def advise(topic: Topic, world: World, coins: Coins) -> str:
    """An answer to a how-to question: up to three tips, written in the requested styles."""
    opening = _bookend("open", topic.id, world.surface, coins)
    sentences = [opening] if opening else []
    for place, tip in enumerate(topic.tips):
        sentences += _advice(place, tip, topic, world, coins)
        if place < len(topic.tips) - 1 and coins.obeys("concise", f"stop{place}"):
            return " ".join(sentences)
    closing = _bookend("close", topic.id, world.surface, coins)
    return " ".join([*sentences, closing] if closing else sentences)


def say(reply: Reply, world: World, coins: Coins) -> str:
    """A one-sentence answer (a fact, a value, a greeting), written in the requested styles."""
    if reply.short != reply.sentence and coins.obeys("concise", "short"):
        return reply.short
    opening = _bookend("open", reply.short, world.reply, coins)
    closing = _bookend("close", reply.short, world.reply, coins)
    return " ".join(part for part in (opening, reply.sentence, closing) if part)


def _advice(place: int, tip: Tip, topic: Topic, world: World, coins: Coins) -> list[str]:
    advice = tip.plain if coins.obeys("plain", f"words{place}") else tip.say
    if coins.obeys("formal", f"frame{place}"):
        sentence = FORMAL_FRAMES[place].format(advice)
    elif place < 2 and coins.obeys("concise", f"bare{place}"):
        sentence = advice[0].upper() + advice[1:]
    else:
        sentence = coins.rng.choices(FRAMES[place], (2, 1, 1))[0].format(advice)
    if coins.obeys("verbose", f"why{place}"):
        sentence += f", because {tip.why}"
    if coins.obeys("creative", f"tail{place}"):
        tails = _third(world.surface["creative_tail"], place)
        sentence += f", {_pick(tails, topic.id, place, coins.rng)}"
    written = [sentence + "."]
    if coins.obeys("uplifting", f"cheer{place}"):
        cheers = _third(world.surface["uplifting_cheer"], place)
        written.append(_pick(cheers, topic.id, place, coins.rng))
    return written


def _bookend(slot: str, key: str, phrases: Mapping[str, Sequence[str]], coins: Coins) -> str | None:
    """The opening or closing of the first style, in random order, that claims the slot."""
    styles = [style for style in OBEDIENCE if f"{style}_{slot}" in phrases]
    coins.rng.shuffle(styles)
    for style in styles:
        if coins.obeys(style, slot):
            return _pick(phrases[f"{style}_{slot}"], key, 0, coins.rng)
    return None


def _third(phrases: Sequence[str], place: int) -> Sequence[str]:
    """A share of its own for each of the three places, so that no phrase comes twice."""
    size = len(phrases) // 3
    return phrases[place * size : (place + 1) * size]


def _pick(phrases: Sequence[str], key: str, place: int, rng: random.Random) -> str:
    """A phrase that belongs to this subject two times out of three, any other else."""
    if rng.random() < 0.67:
        return phrases[(crc32(key.encode()) + place) % len(phrases)]
    return rng.choice(phrases)
