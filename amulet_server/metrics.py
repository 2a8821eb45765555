"""What a server counts, for Prometheus: numbers and names of its own, nothing that a caller wrote.

Knows counters. Doesn't know what they are counted of, or who may read them.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from langchain_amulet.engine import Stats

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""What `Metrics.text` is."""

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds of the times that are told apart."""

GAUGES = {
    "active_requests": "Answers that are being decoded.",
    "rows": "Prompt streams that hold memory.",
    "queued": "Answers that wait for rows.",
    "kv_cache_bytes": "Memory that keys and values take.",
    "kv_cache_limit": "The most that they may take; left out if there is no limit.",
    "kv_cache_tokens": "Tokens whose keys and values these are.",
}
"""What an engine is doing now, by the names of `Stats`."""

TOTALS = {
    "admitted": "Answers that were begun.",
    "finished": "Answers that ended by themselves or by their length.",
    "cancelled": "Answers that their caller left.",
    "failed": "Answers that ended in an error.",
    "decode_steps": "Steps that made tokens.",
    "drafted_tokens": "Tokens that were looked up for answers that speculate.",
    "accepted_tokens": "Those of them that were drawn.",
    "prefill_tokens": "Prompt tokens that were computed.",
    "cache_hits": "Answers whose prompts began like what was there of earlier ones.",
    "cache_read_tokens": "Prompt tokens that weren't computed for that reason.",
}
"""What an engine has done since it was loaded, by the names of `Stats`."""


class EngineCollector(Collector):
    """An engine's own figures, as they are when Prometheus asks for them."""

    def __init__(self) -> None:
        """There is no engine yet."""
        self.stats: Stats | None = None

    def collect(self) -> Iterator[Metric]:
        """Its gauges and counters; nothing as long as there is no engine."""
        for name, text in GAUGES.items() if self.stats else ():
            if (value := getattr(self.stats, name)) is not None:
                yield GaugeMetricFamily(f"amulet_engine_{name}", text, value)
        for name, text in TOTALS.items() if self.stats else ():
            yield CounterMetricFamily(f"amulet_engine_{name}", text, getattr(self.stats, name))


class Metrics:
    """A server's counts, in a registry of their own: two servers of a process don't share any."""

    def __init__(self) -> None:
        """Count nothing yet."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "amulet_requests",
            "Requests that were answered, by route and status.",
            ["route", "status"],
            registry=self._registry,
        )
        self._duration = Histogram(
            "amulet_request_seconds",
            "Time until a request was answered whole.",
            ["route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._first = Histogram(
            "amulet_time_to_first_token_seconds",
            "Time from a request until the first piece of its answer.",
            buckets=SECONDS,
            registry=self._registry,
        )
        self._answers = Counter(
            "amulet_answers",
            "Answers that were decoded, by whether a preference steered them.",
            ["steered"],
            registry=self._registry,
        )
        self._tokens = Counter(
            "amulet_tokens",
            "Tokens of prompts, as callers sent them, and of answers.",
            ["kind"],
            registry=self._registry,
        )
        self._engine = EngineCollector()
        self._registry.register(self._engine)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(route, str(status)).inc()
        self._duration.labels(route).observe(seconds)

    def first_token(self, seconds: float) -> None:
        """Count how long a caller waited for the first piece of an answer."""
        self._first.observe(seconds)

    def answer(self, is_steered: bool, prompt_tokens: int, completion_tokens: int) -> None:
        """Count an answer.

        Args:
            is_steered: Whether a preference steered it.
            prompt_tokens: Tokens of its prompt, unless another answer to it counted them.
            completion_tokens: Its own tokens.
        """
        self._answers.labels("true" if is_steered else "false").inc()
        self._tokens.labels("prompt").inc(prompt_tokens)
        self._tokens.labels("completion").inc(completion_tokens)

    def text(self, stats: Stats | None) -> bytes:
        """All counts as Prometheus reads them.

        Args:
            stats: What the engine does; None as long as there is none.
        """
        self._engine.stats = stats
        return generate_latest(self._registry)
