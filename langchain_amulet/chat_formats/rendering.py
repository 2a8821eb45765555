"""What a chat template writes, within bounds of time and size.

A template is a program of whoever made the model, and Jinja's sandbox bounds neither how long it
takes nor how much it writes. So it runs in a thread of its own, which is interrupted when its time
is over. That ends whatever is done in Python, such as loops, but no single operation: who waits is
told in time nevertheless.

Knows threads, and what a template is called with. Doesn't know conversations or tokens.
"""

from __future__ import annotations

import contextvars
import ctypes
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from threading import Lock, Thread

import jinja2

from langchain_amulet.errors import ChatTemplateError, TemplateLimitError
from langchain_amulet.validation.wording import message_of

LONGEST = 5.0
"""Seconds for one prompt. A long conversation takes some thousandths of one."""

LARGEST = 10_000_000
"""Characters of one prompt, which is more than any model reads."""


def rendered(
    render: Callable[[], str], source: str, roles: Sequence[str], longest: float = LONGEST
) -> str:
    """What a template writes.

    Args:
        render: Calls it.
        source: Its text, or the texts of all that it may be.
        roles: Who speaks in the conversation, for the message.
        longest: How many seconds it may take.

    Raises:
        TemplateLimitError: It takes longer than it may, or writes more.
        ChatTemplateError: It refuses, or fails.
    """
    rendering = _Rendering(render)
    rendering.start()
    try:
        is_done = bool(wait([rendering.outcome], longest).done)
    finally:
        rendering.interrupt()
    if not is_done:
        raise TemplateLimitError(
            f"A chat template must write a prompt within {longest:g} s, but this one was still at "
            "it: mend its loops, or pass chat_template=... that does less."
        )
    error = rendering.outcome.exception()
    if isinstance(error, jinja2.TemplateSyntaxError):
        raise ChatTemplateError(
            f"A chat template must be one that Jinja reads, but it says: {message_of(error)}. Mend "
            "it, or leave chat_template out for the model's own."
        ) from error
    if error is not None:
        is_shown = _is_its_own(error, source)
        said = _in_words(error) if is_shown else "something that isn't shown, as it may quote one"
        raise ChatTemplateError(
            "A conversation must be one that the chat template accepts, but for messages of the "
            f"roles {', '.join(roles)} it says: {said}. Change the order of the messages, or pass "
            "chat_template=..., a template that takes them."
        ) from (error if is_shown else None)
    text = rendering.outcome.result()
    if len(text) > LARGEST:
        raise TemplateLimitError(
            f"A chat template may write {LARGEST} characters, but this one wrote {len(text)}: "
            "mend its loops, or pass chat_template=... that writes less."
        )
    return text


QUOTED = re.compile(r"'([^']*)'")

FAULTS = (
    jinja2.UndefinedError,
    ArithmeticError,
    MemoryError,
    RecursionError,
    TypeError,
)
"""What is raised with names of types, attributes and operators, and with no value but as a name."""


def _is_its_own(error: BaseException, source: str) -> bool:
    """Whether what an error says is the template's own, and can't be what a message says.

    That is what stands in its text. What it puts together, or what quotes a value, is not.
    """
    if isinstance(error, jinja2.TemplateSyntaxError) or str(error) in source:
        return True
    names = QUOTED.findall(str(error))
    return isinstance(error, FAULTS) and all(
        name in source or name.endswith(" object") for name in names
    )


def _in_words(error: BaseException) -> str:
    is_told = isinstance(error, jinja2.TemplateError)
    return message_of(error) if is_told else f"{type(error).__name__}: {message_of(error)}"


class _Interrupted(SystemExit):
    """Ends a thread: a SystemExit, as of all that ends one this is not made a noise about."""


class _Rendering(Thread):
    """A thread that does one thing and can be interrupted.

    Attributes:
        outcome: What comes of it.
    """

    def __init__(self, render: Callable[[], str]) -> None:
        """Begin nothing yet."""
        super().__init__(name="amulet-template", daemon=True)
        self.outcome: Future[str] = Future()
        self._render = render
        self._context = contextvars.copy_context()
        self._ending = Lock()
        self._is_over = False

    def run(self) -> None:
        """Do it, and tell what came of it."""
        try:
            self.outcome.set_result(self._context.run(self._render))
        except BaseException as error:
            self.outcome.set_exception(error)
        finally:
            with self._ending:
                self._is_over = True

    def interrupt(self) -> None:
        """End it at its next operation in Python; nothing if it is done."""
        with self._ending:  # so that it is this thread which has the number, and no later one
            if not self._is_over and not self.outcome.done() and self.ident is not None:
                thread, error = ctypes.c_ulong(self.ident), ctypes.py_object(_Interrupted)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)
