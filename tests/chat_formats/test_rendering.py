"""A chat template is another's program: it has its time, its room, and says nothing of messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from langchain_amulet.chat_formats.rendering import LARGEST, rendered
from langchain_amulet.errors import ChatTemplateError, TemplateLimitError

SECRET = "Mention my gallstones kindly."
SOON, FAR = 0.2, 20.0
FOREVER = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"


def templated(source: str) -> Callable[[], str]:
    template = ImmutableSandboxedEnvironment().from_string(source)
    return lambda: template.render(messages=[{"role": "user", "content": SECRET}])


def refused(source: str) -> ChatTemplateError:
    with pytest.raises(ChatTemplateError, match="for messages of the roles user") as error:
        rendered(templated(source), source, ["user"])
    return error.value


def are_over() -> bool:
    return not any(thread.name == "amulet-template" for thread in threading.enumerate())


def test_what_a_template_writes_is_given_back_and_its_thread_ends() -> None:
    source = "<{{ messages[0].role }}>{{ messages[0].content }}"
    assert rendered(templated(source), source, ["user"]) == f"<user>{SECRET}"


@pytest.mark.parametrize(
    "source",
    [
        FOREVER,
        "{% macro f(n) %}{{ f(n + 1) if n < 60 }}{{ f(n + 1) if n < 60 }}{% endmacro %}{{ f(0) }}",
        "{% set ns = namespace(a=[0]) %}{% for i in range(20) %}{% set ns.a = ns.a + ns.a %}"
        "{% endfor %}{% for a in ns.a %}{% for b in ns.a %}{% endfor %}{% endfor %}",
    ],
    ids=["loops in loops", "recursion that branches", "a list that doubles"],
)
def test_a_template_without_an_end_is_interrupted(source: str) -> None:
    start = time.monotonic()
    with pytest.raises(TemplateLimitError, match=r"within 0\.2 s"):
        rendered(templated(source), source, ["user"], longest=SOON)
    assert time.monotonic() - start < FAR
    while not are_over():  # it isn't left to go on by itself
        assert time.monotonic() - start < FAR
        time.sleep(0.01)


def test_who_waits_is_told_in_time_even_if_nothing_can_be_interrupted() -> None:
    gate = threading.Event()
    start = time.monotonic()
    with pytest.raises(TemplateLimitError):
        rendered(lambda: str(gate.wait(FAR)), "", ["user"], longest=SOON)
    assert time.monotonic() - start < FAR
    gate.set()


def test_many_that_end_about_when_their_time_is_over_harm_nobody() -> None:
    """An interruption never hits another thread than the one that it is meant for."""

    def counted() -> str:
        return str(sum(1 for _ in range(500_000)))

    start = time.monotonic()
    counted()
    took = time.monotonic() - start
    outcomes = set()
    for share in (0.0, 0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 1000.0) * 10:
        try:
            outcomes.add(rendered(counted, "", [], longest=share * took))
        except TemplateLimitError:
            outcomes.add("late")
    assert outcomes == {"500000", "late"}
    bystander = threading.Thread(target=time.sleep, args=(0.01,))
    bystander.start()
    bystander.join()


def test_a_template_that_writes_too_much_is_refused() -> None:
    source = f"{{% for a in range(1000) %}}{'a' * (LARGEST // 1000 + 1)}{{% endfor %}}"
    with pytest.raises(TemplateLimitError, match=rf"may write {LARGEST} characters"):
        rendered(templated(source), source, ["user"])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ 1 // 0 }}", "ZeroDivisionError: integer division or modulo by zero"),
        ("{{ messages[3].content }}", "list object has no element 3"),
        ("{{ messages[0].name.first }}", "'dict object' has no attribute 'name'"),
        ("{{ raise_exception('No.') }}", "'raise_exception' is undefined"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ 'a' * 10 ** 18 }}", "MemoryError"),
        ("{{ 'a' + 1 }}", "TypeError"),
        ("{{ range(10 ** 9) }}", "OverflowError"),
    ],
)
def test_what_a_template_fails_by_is_told(source: str, said: str) -> None:
    error = refused(source)
    assert said in str(error)
    assert error.__cause__ is not None


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[0].content.index('z') }}",
        "{{ {}[messages[0].content].a }}",
        "{{ messages[0][messages[0].content].a }}",
        "{{ messages[0].content | int / 0 }}",
        "{{ messages[0].content | attr(messages[0].content) | attr('a') }}",
        "{{ messages[0].content.format(a) }}{{ [][messages[0].content].b }}",
        "{{ ('%d' % messages[0].content) }}",
        "{% include messages[0].content %}",
    ],
)
def test_nothing_of_what_it_fails_by_quotes_a_message(source: str) -> None:
    whole: BaseException | None = refused(source)
    while whole is not None:
        assert SECRET not in f"{whole} {whole!r}"
        whole = whole.__cause__ or whole.__context__
