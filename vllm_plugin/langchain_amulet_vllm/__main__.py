"""``python -m langchain_amulet_vllm MODEL``: the same as ``langchain-amulet-vllm MODEL``."""

from langchain_amulet_vllm.server import main

if __name__ == "__main__":
    main()
