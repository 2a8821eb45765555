"""How a model family writes prompts, tool calls and thoughts, and how its answers are read.

Knows tokenizers and chat templates. Doesn't know LangChain, models or steering. Each family is a
file: ``hermes``, ``llama``, ``mistral``, ``delimited``; a new one is a `ChatFormat`.
"""
