"""What has to wait, written once and run from a thread or from an event loop.

A `Procedure` is a generator. Where it has to wait it yields a `Wait`, which knows both ways of
waiting for one thing, and is sent what came of it; what it yields besides are the items that it
gives out. So a procedure says what is done, in which order and what is tidied up, and one of four
functions says how: `run` and `stream` block the thread, `arun` and `astream` an event loop's task.

::

    def answer() -> Procedure[str, int]:
        token_ids = yield from_future(engine.submit(...))
        yield "Hello"
        return len(token_ids)

    for piece in stream(answer()): ...
    async for piece in astream(answer()): ...

A `Deadline` ends waits: one of them by `Deadline.limited`, all of a procedure's by `limited`.
`Workers` are threads for what takes long, at most so many at a time.

Read ``wait`` for what can be waited for, ``procedure`` for the ways to run one, ``deadline`` for
its end, ``threads`` for who does the work. Knows threads and event loops. Doesn't know what is
waited for.
"""
