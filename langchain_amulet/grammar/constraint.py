"""A grammar on one answer: which tokens may come next, so that the whole parses and ends in time.

The mask is put on the combined scores only, never on a stream, so an answer can be steered and
still be valid.

This module knows one answer's matcher and tokens: nothing of tools, prompts or steering.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from langchain_amulet.errors import ContextLengthError
from langchain_amulet.grammar.known_way import Ending
from langchain_amulet.grammar.shared_matcher import SharedMatcher
from langchain_amulet.grammar.shortest_ending import EndingSearch
from langchain_amulet.grammar.vocabulary import Bits, Vocabulary, bits_of, has
from langchain_amulet.grammar.walk import Effort

MOST_REFUSALS = 16
"""After how many refusals in one place the way out is taken there."""

AT_ONCE, PER_TOKEN, SECONDS = 50_000, 2_000, 1.0
"""How much may be tried for one token, in units of `Effort`, how much of that each token gives back
that is taken, and how many seconds it may be. A token that would need more is refused: searches are
made between the steps of all requests, so they have to be short."""

SEARCHED = 4096
"""How long a way out is looked for, to say how many tokens would have been enough."""


@dataclass(frozen=True)
class Beginning:
    """Where all answers under one grammar begin; it may be shared between threads.

    Attributes:
        lark: What it was compiled from.
        ends: Texts that end a part of it, likewise.
        matcher: The grammar at its start.
        guide: Finds ways out.
        way_out: The one from the start; None if none was found.
        is_timed: Whether a search that goes on is given up by the clock, too.
    """

    lark: str
    ends: tuple[str, ...]
    matcher: SharedMatcher
    guide: EndingSearch
    way_out: Ending | None
    is_timed: bool = True


class Grammar:
    """What one answer may be: a `Constraint` under which it ends whole within its tokens.

    A way to a valid end is known at each token, and a token after which it would be too long is
    refused. It is taken, too, where a matcher has no room left to find out what else may come.
    """

    def __init__(
        self,
        beginning: Beginning,
        vocabulary: Vocabulary,
        max_tokens: int,
        stops: Collection[int],
        turn: int | None = None,
    ) -> None:
        """Begin an answer.

        Args:
            beginning: Where it begins.
            vocabulary: Its tokens.
            max_tokens: The most that it may have.
            stops: Tokens that end it.
            turn: A token that is chosen for its own sake: where it may come, any other may be
                drawn, and one that the grammar doesn't take says that it doesn't come.

        Raises:
            ContextLengthError: No valid answer was found that fits into ``max_tokens``.
        """
        if beginning.way_out is None:
            raise _too_short(beginning, max_tokens)
        self._beginning, self._matcher = beginning, beginning.matcher.copy()
        self._guide, self._way_out = beginning.guide, beginning.way_out
        self._vocabulary = vocabulary
        self._stops, self._turn = sorted(stops), turn
        self._left, self._spare, self._is_blind = max_tokens, float(AT_ONCE), False
        self._refused: list[int] = []
        self._taken: list[int] = []

    @property
    def spec(self) -> Mapping[str, Any]:
        """What it is made of: another compiler of the same tokens makes the same of it."""
        return {
            "lark": self._beginning.lark,
            "ends": list(self._beginning.ends),
            "turn": self._turn,
        }

    def allowed(self) -> Tensor:
        """Which tokens may come next: bool, shape ``[vocabulary]``; stops where it may end."""
        # No token is left to spare, or the model insists on what can't be ended in time.
        is_near = len(self._way_out) == self._left or len(self._refused) > MOST_REFUSALS
        bits = None if is_near or self._is_blind else self._bits()
        if bits is None:
            return self._only(self._way_out.tokens[:1] or self._stops)
        if self._is_at_turn(bits):
            return self._all_but([*self._stops, *self._refused])
        unpacked = np.unpackbits(bits, count=self._vocabulary.size, bitorder="little")
        mask = torch.from_numpy(unpacked.view(np.bool_))
        mask[self._stops] = self._matcher.is_accepting()
        mask[self._refused] = False
        return mask

    def accept(self, token: int) -> bool:
        """Move on by one token, unless too few would be left after it to end the answer.

        A token that isn't moved on by isn't allowed any more. One that the grammar doesn't take, at
        a turn, says that the turn isn't wanted: then that isn't.
        """
        turn = self._open_turn
        if turn is not None and not self._matcher.validate_tokens([token]):
            self._refused.append(turn)
            return False
        way_out = self._way_after(token)
        if way_out is None:
            self._refused.append(token)
            return False
        self._taken.append(token)
        self._way_out, self._left, self._refused = way_out, self._left - 1, []
        self._spare = min(AT_ONCE, self._spare + PER_TOKEN)
        return True

    def _way_after(self, token: int) -> Ending | None:
        """Consume a token, unless no way so short leads out from behind it; the way if one does."""
        is_known = self._way_out.tokens[:1] == (token,)
        if is_known and self._is_blind:
            return self._followed(token)
        is_respelled = not is_known and self._respells(token)
        is_taken = self._matcher.consume_token(token) or self._renew(token) or is_known
        way_out = self._followed(token) if is_taken and not is_respelled else None
        # The grammar takes what it takes, however far that is from any end.
        if way_out is None and not self._matcher.rollback(1):
            self._renew()
        return way_out

    def _bits(self) -> Bits | None:
        """Which tokens the grammar takes next; None if not even a matcher begun anew finds out."""
        bits = bits_of(self._matcher)
        if self._matcher.is_error():
            self._renew()
            bits = bits_of(self._matcher)
            self._is_blind = self._matcher.is_error()
        return None if self._is_blind else bits

    def _renew(self, *tokens: int) -> bool:
        """Have a matcher that others haven't filled read the answer again, and these tokens.

        Returns:
            Whether it takes them.
        """
        self._matcher = self._beginning.matcher.renewed()
        return bool(self._matcher.consume_tokens([*self._taken, *tokens]))

    def _followed(self, token: int) -> Ending | None:
        until = time.thread_time() + SECONDS if self._beginning.is_timed else math.inf
        effort = Effort(self._spare, until)
        found = self._guide.follow(self._way_out, token, self._matcher, self._left - 1, effort)
        self._spare = effort.left
        return found

    def _respells(self, token: int) -> bool:
        r"""Whether a token writes a letter of a property's name by an escape.

        llguidance tells names that a schema leaves open from others by how they are spelled, so
        that ``"\u0061"`` would be none of those by which ``"a"`` has to be something.
        """
        spelled, place = self._vocabulary.spelled(token), self._way_out.place
        if not place.escaped and b"\\" not in spelled:
            return False
        places = [place.after(spelled[:at]) for at in range(len(spelled))]
        return any(
            each.escaped and spelled[at] in b"u/" and self._is_in_open_name(spelled[:at])
            for at, each in enumerate(places)
        )

    def _is_in_open_name(self, before: bytes) -> bool:
        """Whether a name that a schema leaves open goes on behind a backslash after ``before``.

        In all other JSON only control characters are escaped by numbers, those below 0020, and in
        a text that isn't JSON anything may come.
        """
        tried = [[*self._vocabulary.bytewise(before + each)] for each in (b"u1", b"q")]
        takes_any, is_free = (self._matcher.validate_tokens(ids) == len(ids) for ids in tried)
        return takes_any and not is_free

    @property
    def _open_turn(self) -> int | None:
        """The turn, unless it was refused in this place."""
        return None if self._turn in self._refused else self._turn

    def _is_at_turn(self, bits: Bits) -> bool:
        """Whether the turn may come, and something else, too."""
        turn = self._open_turn
        if turn is None or not has(bits, turn):
            return False
        return bool(np.unpackbits(bits).sum() > 1)

    def _all_but(self, tokens: Sequence[int]) -> Tensor:
        mask = torch.ones(self._vocabulary.size, dtype=torch.bool)
        mask[tokens] = False
        return mask

    def _only(self, tokens: Sequence[int]) -> Tensor:
        mask = torch.zeros(self._vocabulary.size, dtype=torch.bool)
        mask[list(tokens)] = True
        return mask


def _too_short(beginning: Beginning, max_tokens: int) -> ContextLengthError:
    is_worth_it = max_tokens < SEARCHED
    enough = (
        beginning.guide.start(beginning.matcher.copy(), SEARCHED, beginning.is_timed)
        if is_worth_it
        else None
    )
    longest = beginning.guide.longest_text(enough)
    most = max(max_tokens, SEARCHED)
    because = f" ({longest})" if longest else ""
    remedy = f"to {len(enough)} or more" if enough else f"beyond {most}, or ask for less"
    return ContextLengthError(
        f"max_tokens must leave room for a whole answer, but {max_tokens} tokens are too few for "
        f"the shortest one that matches the schema{because}: raise max_tokens {remedy}."
    )
