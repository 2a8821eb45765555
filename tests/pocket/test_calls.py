"""A style changes what is said and not what is done: tool calls, argument by argument."""

from langchain_amulet import ChatAmulet
from pocket.evaluation.calls import measure


async def test_calls_are_those_of_the_prompted_model_however_hard_it_is_steered() -> None:
    with ChatAmulet(model="pocket", temperature=0.0, dtype="float32", max_tokens=96) as llm:
        found = await measure(llm, 5, ["Your answer should be uplifting as much as possible."])
    assert found["no style"].right > 0.5
    assert len({found[each] for each in ("auto", "balanced", "strong", "amulet", "prompted")}) == 1
