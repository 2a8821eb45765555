"""Models from a folder or the Hub, and what can be read off them.

Knows transformers and the Hub. Doesn't know requests or what runs a model.
"""
