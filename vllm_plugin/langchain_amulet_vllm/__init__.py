"""Preference steering in a vLLM server: all prompts of an answer decode in step, or not at all.

Started by ``langchain-amulet-vllm MODEL``, a server answers `ChatAmulet(backend="vllm")`. Read
``scheduler`` for which rows run together, ``processor`` for how they become one token, ``server``
for what is started. Importing this changes nothing of vLLM, and neither does installing it.
"""
