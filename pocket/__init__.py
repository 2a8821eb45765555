"""How the bundled model ``pocket`` is made: dialogue generator, tokenizer, trainer, evaluation.

Knows the packages beside it, which don't know it: they have the weights that come out of it.
"""
