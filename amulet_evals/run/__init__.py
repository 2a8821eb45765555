"""A run: which answers it needs, decoding them, and the folder that keeps them.

Knows chat models and files. Doesn't know scorers or what is reported.
"""
