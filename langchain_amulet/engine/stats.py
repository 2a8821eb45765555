"""What an engine tells of itself, in numbers.

Knows the numbers alone, and not who counts.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stats:
    """What an engine is doing and has done; the totals count since its start.

    Attributes:
        active_requests: Requests that hold rows now.
        rows: Prompt streams that hold memory now.
        queued: Requests that wait for rows now.
        admitted: Requests that ever got rows.
        finished: Requests that ended by a stop token or by length.
        cancelled: Requests that their caller left.
        failed: Requests that ended in an error, deadlines included.
        decode_steps: Steps that made tokens, each a forward pass of every model in use.
        drafted_tokens: Tokens that were looked up for requests that speculate.
        accepted_tokens: Those of them that were drawn, each of which saved its request a step.
        prefill_tokens: Prompt tokens computed; a prefix that streams share counts once.
        cache_hits: Requests whose prompts began like what was there of earlier ones.
        cache_read_tokens: Prompt tokens that weren't computed for that reason.
        kv_cache_bytes: Memory that keys and values take now, of requests and kept prefixes.
        kv_cache_limit: The most that they may take, all models that are in use now together; None
            if there is no limit.
        kv_cache_tokens: Tokens whose keys and values these are, each shared one once.
    """

    active_requests: int = 0
    rows: int = 0
    queued: int = 0
    admitted: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    decode_steps: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    prefill_tokens: int = 0
    cache_hits: int = 0
    cache_read_tokens: int = 0
    kv_cache_bytes: int = 0
    kv_cache_limit: int | None = None
    kv_cache_tokens: int = 0
