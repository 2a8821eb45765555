"""Drafts of what comes next, looked up in the prompt and in the answer so far: no model needed.

Answers that edit a text, quote passages or fill in a tool's arguments write again what is there
already. So what followed the last few tokens where they stood before is drafted, and the model
reads the draft in the same pass as the token before it. Each token is then drawn as it would have
been without a draft, with the same random number; where it is the drafted one, the next is drawn
in the same step. So the tokens are the same, in fewer steps.

A draft costs time whether it is right or not. So drafts have an account, in steps of decoding: a
token that was drafted rightly pays in the step that it saved, and a draft is paid for in advance.
Where nothing is left of what was saved, a hundredth of a step is paid in at each, up to one token's
worth, and spent only where many tokens in a row stood somewhere before: of an answer that copies
there are soon so many, and a text of few words has short repetitions all the time that say nothing.

Knows token ids. Doesn't know requests, models, or how a token is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int64]

LEAST_MATCH, SURE_MATCH, MOST_MATCHED = 2, 4, 8
"""How many last tokens must have stood somewhere before, as long as drafts were right lately; how
many otherwise; and how many are looked at to choose among such places."""

MOST_DRAFTED = 8
"""The longest draft, in tokens."""

COST = 0.25
"""What a drafted token is taken to cost, in steps of one request. A large model takes far less for
it, and a small one with a large vocabulary, which is mostly head, a little more."""

ALLOWANCE = 0.01
"""What is paid in at each step: the share of the time that drafts may take where none is right."""

MOST_SAVED = MOST_DRAFTED * COST
"""The most that is on the account: a draft's worth, so that what was right long ago doesn't pay for
what is wrong now."""


def continuation(tokens: Tokens, most: int, least: int = LEAST_MATCH) -> list[int]:
    """What followed where the last tokens stood before: the latest of the longest such matches.

    Args:
        tokens: All that was read and written.
        most: The most tokens to give.
        least: How many last tokens must have stood there.

    Returns:
        Token ids, none if the last ones are new.
    """
    end = len(tokens) - 1
    places, matched = np.arange(end), 0  # not the end itself, which nothing follows
    while matched < min(MOST_MATCHED, end):
        longer = places[places >= matched]
        longer = longer[tokens[longer - matched] == tokens[end - matched]]
        if not len(longer):
            break
        places, matched = longer, matched + 1
    if matched < least:
        return []
    start = int(places[-1]) + 1
    found: list[int] = tokens[start : start + most].tolist()
    return found


@dataclass
class PromptLookup:
    """The drafts of one request.

    Attributes:
        prompt: What it was asked.
        drafted: How many tokens were drafted.
        accepted: How many of them came to be drawn.
    """

    prompt: Sequence[int]
    drafted: int = 0
    accepted: int = 0
    _account: float = COST

    def __post_init__(self) -> None:
        """Keep the prompt as it is searched."""
        self._read: Tokens = np.array(self.prompt)

    def draft(self, answer: Sequence[int], most: int) -> list[int]:
        """Guess what comes next.

        Args:
            answer: What was written so far.
            most: The most tokens that are of use.

        Returns:
            Token ids; none where nothing is found, or where drafts don't pay.
        """
        if self._account < COST:
            self._account = min(COST, self._account + ALLOWANCE)
        affordable = min(most, MOST_DRAFTED, int(self._account / COST + 1e-9))
        if affordable < 1:
            return []
        least = LEAST_MATCH if self._account > COST else SURE_MATCH
        known = np.concatenate([self._read, np.array(answer, np.int64)])
        found = continuation(known, affordable, least)
        self._account -= COST * len(found)
        self.drafted += len(found)
        return found

    def accept(self) -> None:
        """Note that a drafted token was drawn, which saved a step."""
        self.accepted += 1
        self._account = min(MOST_SAVED, self._account + 1.0)
