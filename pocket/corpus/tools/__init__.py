"""Dialogues with tools: schemas, requests, calls, results and the answers that quote them.

Knows what users ask and tools return. Doesn't know chat templates or how a call is written.
"""

from pocket.corpus.tools.dialogues import relay_sample, tool_sample
from pocket.corpus.tools.preferences import preference_sample

__all__ = ["preference_sample", "relay_sample", "tool_sample"]
