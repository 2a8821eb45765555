"""Two methods of one's own: one that is decided token by token, and a search.

``python own_method.py`` answers by both; docs/extending/method.md says what each part is for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet import ChatAmulet
from langchain_amulet.methods import Candidate, Guidance, Method, SearchPlan, prompted, register
from langchain_amulet.steering import Contrast, Plan, Stream


@register
@dataclass(frozen=True)
class Gentle(Method):
    """Less than the prompt alone would do: l_base + share (l_pref - l_base)."""

    name: ClassVar[str] = "gentle"
    share: float = 0.5

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """Two prompts, and how they become one distribution."""
        if not (chosen := prompted(preferences)):
            return Plan.plain()
        streams = (Stream(chosen), Stream())
        contrast = Contrast(self.share, plus=0, minus=1)
        return Plan(streams=streams, anchor=1, contrasts=(contrast,), reference=((0, 1.0),))


@register
@dataclass(frozen=True)
class Shortest(Method):
    """The shortest of several answers by the prompt alone."""

    name: ClassVar[str] = "shortest"
    n: int = 8

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """How each of the answers is decoded."""
        return Plan.plain(prompted(preferences))

    def search(self) -> SearchPlan:
        """How many answers are drawn, and who ranks them."""
        return SearchPlan(self.n, rank=brevity)


def brevity(candidates: Sequence[Candidate]) -> list[int]:
    """A number for each answer, the higher the better."""
    return [-len(candidate.message.text) for candidate in candidates]


if __name__ == "__main__":
    llm = ChatAmulet(model="pocket", temperature=0.7, seed=1, preference="Be uplifting.")
    for method in (Gentle(), "gentle:share=0.9", Shortest(4)):
        print(llm.invoke("How can I save money?", method=method).text)
