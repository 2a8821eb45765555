"""From dialogues to weights: tokenizer, batches, the loop, and PAD's reward model.

Knows transformers and torch. Doesn't know what dialogues say.
"""
