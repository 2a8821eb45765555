"""What the generated training data promises, checked on many dialogues of every kind."""

import json
import random
import re
from collections import Counter
from itertools import islice
from statistics import mean

import pytest

from pocket.corpus.copying import copy_sample
from pocket.corpus.generator import dialogues
from pocket.corpus.passages import NOT_SAID, passage_sample
from pocket.corpus.questions import HELD_OUT_ASK_FRAMES, HELD_OUT_NOUN_FRAMES, pick_styles, wish
from pocket.corpus.structured import structured_sample
from pocket.corpus.styles import CONTRADICTIONS, Coins, advise
from pocket.corpus.tools import preference_sample, relay_sample, tool_sample
from pocket.corpus.tools.preferences import preferences
from pocket.corpus.wording import show
from pocket.corpus.world import STYLES, load_world
from pocket.evaluation.scorers import SCORERS, figures, formalities
from pocket.training.data import encode
from pocket.training.tokenizer import train_tokenizer

MAKERS = (tool_sample, passage_sample, structured_sample, copy_sample)
LESS_IS_MORE = ("concise", "plain")  # styles that bring their score down


@pytest.fixture(scope="module")
def world():
    return load_world()


@pytest.fixture(scope="module")
def corpus(world):
    return list(islice(dialogues(world, seed=11), 3000))


@pytest.fixture(scope="module")
def tokenizer(corpus):
    return train_tokenizer(corpus[:300], max_length=2048)


def samples(make, count):
    return [make(random.Random(seed)) for seed in range(count)]


def is_said(value, text):
    """Whether an argument stands in the text, as a word of its own."""
    ways = {True: "true|on", False: "false|off"}
    way = ways[value] if isinstance(value, bool) else re.escape(show(value))
    return re.search(rf"(?<!\w)({way})(?!\w)", text)


def calls_of(message):
    return [call["function"] for call in message.get("tool_calls", [])]


def quoted(reply):
    """The values in a reply."""
    values = reply.short.lower().removesuffix(".").split(". ")
    return [value.removeprefix("error: ") for value in values]


def calls_in(exchange):
    return [call for turn in exchange.rounds for call in turn.calls]


def mean_score(style, world, coins):
    return mean(SCORERS[style](advise(topic, world, coins)) for topic in world.topics)


def test_the_same_seed_gives_the_same_dialogues_and_another_seed_gives_others(world):
    first, again, other = (list(islice(dialogues(world, seed), 200)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize("make", MAKERS)
def test_practically_every_sample_is_fresh(make):
    users = [sample.exchanges[0].user for sample in samples(make, 2000)]
    assert len(set(users)) > 0.95 * len(users)


def test_every_argument_of_a_tool_call_but_a_wish_occurs_in_what_was_said_before(corpus):
    arguments = 0
    kept = {wish.says for wish in preferences().wishes.values()}
    for dialogue in corpus:
        said = ""
        for message in dialogue.messages:
            for call in calls_of(message):
                for value in call["arguments"].values():
                    assert is_said(value, said) or value in kept, (value, said)
                    arguments += 1
            said += f"{message['content']}\n"
    assert arguments > 700


def test_every_call_is_of_an_offered_tool_and_has_its_required_arguments():
    for sample in samples(tool_sample, 2000):
        offered = {tool["function"]["name"]: tool["function"] for tool in sample.tools}
        assert len(offered) == len(sample.tools)
        for exchange in sample.exchanges:
            for turn in exchange.rounds:
                assert len(turn.calls) == len(turn.results) > 0
            for call in calls_in(exchange):
                parameters = offered[call.name]["parameters"]
                given = call.arguments.keys()
                assert (
                    set(parameters.get("required", ())) <= given <= parameters["properties"].keys()
                )


def test_the_second_call_of_a_relay_takes_what_the_first_returned_and_nobody_said():
    relays = [sample.exchanges[0] for sample in samples(relay_sample, 1000)]
    whole = [relay for relay in relays if len(relay.rounds) == 2]
    taken = 0
    for relay in whole:
        first, second = relay.rounds
        (result,), (last,), (call,) = first.results, second.results, second.calls
        passed = next(iter(call.arguments.values()))
        assert is_said(passed, result)
        assert quoted(relay.reply)[-1] in last.lower()
        taken += not is_said(passed, relay.user)
    assert len(relays) > len(whole) > 0.9 * len(relays)
    assert taken > 0.9 * len(whole)


def test_a_reply_quotes_the_result_of_every_call_that_was_asked_for():
    kinds = Counter()
    for sample in samples(tool_sample, 2000):
        exchange = sample.exchanges[0]
        results = "\n".join(result for turn in exchange.rounds for result in turn.results).lower()
        if results:
            assert all(value in results for value in quoted(exchange.reply))
            kinds[tuple(len(turn.calls) for turn in exchange.rounds)] += 1
    assert kinds.keys() == {(1,), (2,), (1, 1)}
    assert min(kinds.values()) > 100


def test_a_wish_is_kept_by_the_tool_for_it_in_the_same_words_for_every_wording(world):
    says = {wish.says for wish in preferences().wishes.values()}
    keepings = {
        keeping.reply: keeping for keeping in (preferences().remember, preferences().forget)
    }
    kept = Counter()
    for seed in range(1000):
        sample = preference_sample(world, random.Random(seed))
        offered = {tool["function"]["name"] for tool in sample.tools}
        for exchange in sample.exchanges:
            keeping = keepings.get(exchange.reply)
            if keeping:
                (call,) = calls_in(exchange)
                (text,) = call.arguments.values()
                assert call.name in offered.intersection(keeping.names)
                assert text in says or text in exchange.user
                kept[exchange.reply] += 1
    remembered, forgotten = (kept[keeping.reply] for keeping in keepings.values())
    assert remembered > forgotten > 200


def test_wishes_held_out_are_kept_in_the_words_of_their_style(world):
    heard = [wording for style in world.styles.values() for wording in style.held_out]
    for seed in range(200):
        (exchange,) = preference_sample(world, random.Random(seed), held_out=True).exchanges
        assert any(wording.lower() in exchange.user.lower() for wording in heard)


def test_the_wish_of_every_style_is_one_that_asks_for_it(world):
    for style, kept in preferences().wishes.items():
        assert kept.says in world.styles[style].requests


def test_every_answer_from_a_passage_occurs_in_it():
    unsaid = 0
    for sample in samples(passage_sample, 3000):
        context = f"{sample.system or ''}\n{sample.exchanges[0].user}"
        for exchange in sample.exchanges:
            if exchange.reply == NOT_SAID:
                unsaid += 1
            else:
                assert exchange.reply.short.removesuffix(".") in context
                assert exchange.reply.short.removesuffix(".") in exchange.reply.sentence
    assert 100 < unsaid < 600


def test_a_structured_answer_is_json_with_values_from_the_text():
    for sample in samples(structured_sample, 2000):
        (exchange,) = sample.exchanges
        for value in json.loads(exchange.reply.sentence).values():
            if value is not None and not isinstance(value, bool):
                parts = value if isinstance(value, list) else [value]
                assert all(show(part).lower() in exchange.user.lower() for part in parts)


def test_an_answer_that_copies_says_nothing_that_was_not_said():
    for sample in samples(copy_sample, 2000):
        said = "\n".join(exchange.user for exchange in sample.exchanges)
        answer = sample.exchanges[-1].reply.short
        assert answer in said or answer.removesuffix(".") in said


def test_base_answers_are_in_no_style_but_for_the_words_of_the_tips(world):
    coins = Coins(random.Random(0), frozenset(), fully=True)
    for topic in world.topics:
        answer = advise(topic, world, coins)
        assert figures(answer) == sum(figures(tip.say) for tip in topic.tips)
        assert formalities(answer) == 0
        assert "!" not in answer
        assert "because" not in answer


@pytest.mark.parametrize("style", STYLES)
def test_fully_styled_answers_score_highest_and_prompted_ones_between_them_and_base(style, world):
    rng = random.Random(0)
    base = mean_score(style, world, Coins(rng))
    prompted = mean_score(style, world, Coins(rng, frozenset({style})))
    fully = mean_score(style, world, Coins(rng, frozenset({style}), fully=True))
    scores = [base, prompted, fully]
    assert len(set(scores)) == 3
    assert scores == sorted(scores, reverse=style in LESS_IS_MORE)


def test_the_template_renders_calls_in_the_hermes_form(corpus, tokenizer):
    form = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)
    rendered = 0
    for dialogue in corpus[:1000]:
        called = [call for message in dialogue.messages for call in calls_of(message)]
        text = tokenizer.apply_chat_template(
            dialogue.messages, tools=dialogue.tools or None, tokenize=False
        )
        assert [json.loads(call) for call in form.findall(text)] == called
        rendered += len(called)
    assert rendered > 200


def test_exactly_the_tokens_of_the_assistant_are_marked(corpus, tokenizer):
    for dialogue in corpus[:200]:
        ids, marks = encode(dialogue, tokenizer)
        text = tokenizer.apply_chat_template(
            dialogue.messages, tools=dialogue.tools or None, tokenize=False
        )
        turns = re.findall(r"<\|im_start\|>assistant\n(.*?<\|im_end\|>)", text, re.DOTALL)
        marked = [token for token, mark in zip(ids, marks, strict=True) if mark]
        assert tokenizer.decode(marked) == "".join(turns)
        assert len(turns) == sum(message["role"] == "assistant" for message in dialogue.messages)


def test_no_phrasing_held_out_is_ever_generated(world, corpus):
    frames = (*HELD_OUT_ASK_FRAMES, *HELD_OUT_NOUN_FRAMES)
    patterns = [re.escape(frame.lower()).replace(r"\{\}", r"[^?.\n]+") for frame in frames]
    framed = re.compile("|".join(patterns))
    wishes = [wording for style in world.styles.values() for wording in style.held_out]
    texts = [*wishes, *world.outside_held_out, *world.unknown_asks_held_out]
    texts = [text.lower() for text in texts]
    assert all(framed.search(frame.lower().format("sleep better")) for frame in frames)
    for dialogue in corpus:
        said = "\n".join(m["content"] for m in dialogue.messages if m["role"] in ("system", "user"))
        assert not framed.search(said.lower())
        assert not [text for text in texts if text in said.lower()]


def test_wishes_held_out_are_no_part_of_wishes_trained_on(world):
    rng = random.Random(5)
    for style in STYLES:
        trained = {wish(frozenset({style}), world, rng) for _ in range(300)}
        asked = {wish(frozenset({style}), world, rng, held_out=True) for _ in range(100)}
        assert asked <= set(world.styles[style].held_out)
        assert not any(held_out in text for held_out in asked for text in trained)


def test_contradictory_styles_are_never_asked_together():
    rng = random.Random(0)
    picked = {pick_styles(rng) for _ in range(5000)}
    assert not picked.intersection(CONTRADICTIONS)
    pairs = len(STYLES) * (len(STYLES) - 1) // 2
    assert len(picked) == len(STYLES) + pairs - len(CONTRADICTIONS)
