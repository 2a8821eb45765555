"""Questions about short passages: reading an invented fact off a text and quoting it exactly."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from pocket.corpus.dialogue import Exchange, Reply, Sample
from pocket.corpus.relations import Fact, Kind, Relation, kinds, layouts

NOT_SAID = Reply("The text does not say.", "The text does not say.")


@dataclass(frozen=True)
class Passage:
    """A text about one thing, its facts, and relations of the thing that it says nothing about."""

    entity: str
    text: str
    facts: tuple[Fact, ...]
    untold: tuple[Relation, ...]


def passage_sample(rng: random.Random, fewest: int = 1) -> Sample:
    """``fewest`` to four invented passages and one or two questions about them.

    One question in ten asks what the passages do not say; other things often have the asked
    relation too.
    """
    numbers = range(fewest, 5)
    passages = _passages(rng, rng.choices(numbers, (30, 32, 26, 12)[fewest - 1 :])[0])
    texts = [passage.text for passage in passages]
    rng.shuffle(texts)
    turns = _turns(rng, passages)
    context = _join(rng, texts)
    system, first = _laid_out(rng, context, turns[0].user)
    return Sample((Exchange(first, turns[0].reply), *turns[1:]), system)


def _passages(rng: random.Random, number: int) -> list[Passage]:
    """Passages about ``number`` different things, two out of three times all of one kind.

    A relation of the first thing comes in the passages of all things of its kind.
    """
    chosen = rng.choices(kinds(), [kind.weight for kind in kinds()], k=number)
    if number > 1 and rng.random() < 0.65:
        chosen = [chosen[0]] * number
    shared = rng.choice(chosen[0].relations)
    passages: list[Passage] = []
    for kind in chosen:
        entity = kind.entity(rng)
        while any(entity == passage.entity for passage in passages):
            entity = kind.entity(rng)
        length = _length(rng, number)
        passages.append(_passage(rng, kind, entity, length, shared if kind is chosen[0] else None))
    return passages


def _length(rng: random.Random, number: int) -> int:
    """How many facts a passage has, one of ``number`` passages."""
    return rng.choice((1, 2, 2, 3, 3, 4)) if number == 1 else rng.randint(1, max(2, 5 - number))


def _passage(
    rng: random.Random, kind: Kind, entity: str, length: int, first: Relation | None
) -> Passage:
    pool = list(kind.relations)
    rng.shuffle(pool)
    if first:
        pool.remove(first)
        pool.insert(0, first)
    covered, rest = pool[:length], pool[length:]
    rng.shuffle(covered)
    pronoun = rng.choice(kind.pronouns)
    facts, sentences = _tell(rng, entity, covered, pronoun)
    if rng.random() < 0.1:
        sentences.insert(rng.randint(1, len(sentences)), rng.choice(layouts().fillers))
    # A relation with the same kind of value may half answer the question: no "does not say".
    values = {relation.value for relation in covered}
    untold = tuple(relation for relation in rest if relation.value not in values)
    return Passage(entity, " ".join(sentences), tuple(facts), untold)


def _tell(
    rng: random.Random, entity: str, relations: Sequence[Relation], pronoun: str
) -> tuple[list[Fact], list[str]]:
    """Facts and their sentences; later ones may have a pronoun or join the one before."""
    facts: list[Fact] = []
    sentences: list[str] = []
    joinable = False
    for relation in relations:
        value = relation.value(rng)
        fact = Fact(entity, relation, rng.choice(relation.frames), value)
        later = bool(facts) and fact.starts_with_entity
        facts.append(fact)
        if later and joinable and rng.random() < 0.4:
            sentences[-1] = f"{sentences[-1][:-1]} and {fact.predicate}."
            joinable = False
            continue
        sentences.append(fact.sentence(pronoun if later and rng.random() < 0.6 else None))
        joinable = fact.starts_with_entity
    return facts, sentences


def _turns(rng: random.Random, passages: Sequence[Passage]) -> list[Exchange]:
    facts = [fact for passage in passages for fact in passage.facts]
    untold = [(relation, passage.entity) for passage in passages for relation in passage.untold]
    rounds = 2 if rng.random() < 0.22 else 1
    turns = []
    for fact in rng.sample(facts, min(rounds, len(facts))):
        if untold and rng.random() < 0.1:
            relation, entity = rng.choice(untold)
            turns.append(Exchange(relation.question(entity, rng), NOT_SAID))
        else:
            turns.append(Exchange(fact.relation.question(fact.entity, rng), fact.reply()))
    return turns


def _join(rng: random.Random, passages: Sequence[str]) -> str:
    roll = rng.random()
    if len(passages) == 1 and roll > 0.1:
        return passages[0]
    apart = rng.choice(("\n\n", "\n\n", "\n"))
    if roll < 0.3:
        form = rng.choice(layouts().numbered)
        return apart.join(form.format(number, text) for number, text in enumerate(passages, 1))
    if roll < 0.36:
        return "\n".join(f"- {text}" for text in passages)
    if roll < 0.45 and sum(map(len, passages)) < 300:
        return " ".join(passages)
    return apart.join(passages)


def _laid_out(rng: random.Random, context: str, question: str) -> tuple[str | None, str]:
    """A system prompt, if any, and the first user turn; one of them has the context."""
    if rng.random() < 0.35:
        return rng.choice(layouts().system_layouts).format(c=context), question
    user = rng.choice(layouts().user_layouts).format(c=context, q=question)
    return rng.choice(layouts().systems) if rng.random() < 0.2 else None, user
