"""What runs a model for the engine, one file a backend.

Knows token ids, rows and a model. Doesn't know queues, sampling or callers.
"""
