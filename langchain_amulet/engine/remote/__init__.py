"""Decoding by a vLLM server that steers, in place of an engine in this process.

``engine`` has requests decoded there, ``model`` knows what is served, ``request_wire`` and
``answer_wire`` say what goes over and what comes back. The server's side is langchain-amulet-vllm.

Knows token ids and HTTP. Doesn't know text, LangChain, or how a server decodes.
"""

from langchain_amulet.engine.remote.engine import RemoteEngine
from langchain_amulet.engine.remote.model import RemoteModel, load_vllm

__all__ = ["RemoteEngine", "RemoteModel", "load_vllm"]
