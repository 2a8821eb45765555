"""Dialogues with tools: schemas, requests, calls, results and the answers that quote them."""

from training.tools.dialogues import tool_sample as tool_sample
