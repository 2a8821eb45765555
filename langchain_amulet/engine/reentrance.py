"""Who asks an engine while an engine's step runs, so that none waits for itself.

Code that is part of a step may ask another model, whose engine may ask a third. Where that leads
back, each would wait for the other for ever, so it is refused.

Knows who asks whom. Doesn't know what a step does, or what is asked.
"""

from __future__ import annotations

from contextvars import ContextVar

from langchain_amulet.errors import ReentrantCallError

STEPPING: ContextVar[AskedEngines | None] = ContextVar("stepping", default=None)
"""Whose step the running code is part of. A variable of the context and not the thread's name,
because LangChain's and asyncio's executors take their caller's context along: code in a step that
waits for a batch in other threads waits for this thread, too."""

_REENTRANT = (
    "Code that a model runs between two tokens, such as a method's utility or a grammar, can't ask "
    "the same model, which waits for that code, nor one that waits for this one: ask a second "
    "model (another name, or other settings of loading), or ask before the call or after it, as a "
    "search's scorer does."
)


class AskedEngines:
    """One engine, as others ask it, and whom its own step asked and may wait for."""

    def __init__(self) -> None:
        """Nobody is asked yet."""
        self._asked: set[AskedEngines] = set()

    def enter(self) -> None:
        """Let what this thread runs from now on be part of this engine's steps."""
        STEPPING.set(self)  # in this thread's own context, which ends with it

    def end_step(self) -> None:
        """Nobody whom the step asked is waited for any more."""
        self._asked.clear()

    def refuse_to_wait(self, asking: AskedEngines) -> None:
        """Note that another engine's step asks this one.

        Raises:
            ReentrantCallError: This one's step can't end before the other's.
        """
        # First, so that of two engines which ask each other at once one sees it.
        asking._asked.add(self)
        if self._waits_for(asking):
            raise ReentrantCallError(_REENTRANT)

    def _waits_for(self, other: AskedEngines) -> bool:
        """Whether this engine's step can't end before the other's: itself, or through others."""
        found, left = set[AskedEngines](), [self]
        while left:
            engine = left.pop()
            if engine is other:
                return True
            found.add(engine)
            left.extend(each for each in tuple(engine._asked) if each not in found)
        return False
