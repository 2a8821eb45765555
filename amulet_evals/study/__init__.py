"""The study of a real model: what is asked of it, as files, and one command for all of it.

Knows what is asked. Doesn't know how answers are decoded, scored or compared.
"""
