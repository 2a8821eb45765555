"""Dialogues with tools: schemas, requests, calls, results and the answers that quote them."""

from pocket.corpus.tools.dialogues import relay_sample as relay_sample
from pocket.corpus.tools.dialogues import tool_sample as tool_sample
from pocket.corpus.tools.preferences import preference_sample as preference_sample
