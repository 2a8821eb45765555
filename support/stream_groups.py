"""Requests of one, two, three and four streams, with all that a plan can say."""

from langchain_amulet.engine import Request
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Contrast, Plan, Plausibility, Stream, TopK, TopP

GREEDY = SamplingParams(temperature=0.0)

PLAIN = Plan.plain()
AMULET = Plan(
    streams=(Stream((0,)), Stream()),
    anchor=0,
    contrasts=(Contrast(4.6487, 0, 1),),
    reference=((0, 1.0),),
    mask=Plausibility(0.1),
)
CAPPED = Plan(
    streams=(Stream((0,)), Stream()),
    anchor=0,
    contrasts=(Contrast(2.0, 0, 1),),
    reference=((0, 1.0),),
    mask=TopP(0.9),
    kl_cap=0.5,
)
NESTED = Plan(
    streams=(Stream((0, 1)), Stream((0,)), Stream()),
    anchor=0,
    contrasts=(Contrast(1.0, 0, 1), Contrast(0.5, 1, 2)),
    reference=((0, 1.0),),
    mask=TopK(20),
)
WEIGHTED = Plan(
    streams=(Stream(), Stream((0,)), Stream((1,)), Stream((2,))),
    anchor=0,
    contrasts=(Contrast(2.0, 1, 0), Contrast(0.7, 2, 0), Contrast(-0.4, 3, 0)),
    reference=((1, 0.5), (2, 0.3), (3, 0.2)),
    mask=Plausibility(0.05),
)
PLANS = {"plain": PLAIN, "amulet": AMULET, "capped": CAPPED, "nested": NESTED, "weighted": WEIGHTED}


def prompt(number: int, stream: int, length: int) -> tuple[int, ...]:
    """Token ids that look like nothing, the same for the same numbers."""
    return tuple(
        8 + (7919 * number + 104729 * stream + 31 * place) % 3000 for place in range(length)
    )


def request(
    plan: Plan = AMULET,
    number: int = 0,
    length: int = 20,
    max_tokens: int = 16,
    sampling: SamplingParams = GREEDY,
    **more: object,
) -> Request:
    """A request whose streams have prompts of different lengths."""
    prompts = tuple(prompt(number, k, length + 3 * k) for k in range(len(plan.streams)))
    return Request(prompts, plan, sampling, max_tokens, **more)


def mixed(count: int, **more: object) -> list[Request]:
    """As many requests, of all plans, greedy and drawn."""
    plans = [*PLANS.values()]
    return [
        request(
            plans[number % len(plans)],
            number,
            length=10 + 5 * (number % 4),
            sampling=GREEDY if number % 2 else SamplingParams(temperature=0.9, seed=number),
            **more,
        )
        for number in range(count)
    ]
