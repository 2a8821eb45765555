"""GGUF files, run by llama.cpp.

Knows llama.cpp's C interface. Doesn't know plans, sampling or callers.
"""
