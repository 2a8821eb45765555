"""How the bundled model ``pocket`` is made: dialogue generator, tokenizer, trainer, evaluation."""
