"""Backends over models of Hugging Face's transformers.

Holds all that knows the library's models: forward passes, KV cache, head, and the choice between
rows of one batch and one request after the other. Doesn't know requests, sampling or callers.
"""
