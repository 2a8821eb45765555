"""The results that the documentation shows: what is asked, and how the answers are scored.

`questions.jsonl` and `styles.json` are written by `export`, `greedy.json` is the config file of
``langchain-amulet evaluate``, and its scores are the functions in `scores`. Knows the corpus.
Doesn't know how answers are decoded or compared.
"""
