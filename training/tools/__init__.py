"""Dialogues with tools: schemas, requests, calls, results and the answers that quote them."""

from training.tools.dialogues import relay_sample as relay_sample
from training.tools.dialogues import tool_sample as tool_sample
from training.tools.preferences import preference_sample as preference_sample
