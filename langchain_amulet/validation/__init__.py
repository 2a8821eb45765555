"""What is refused, and in what words: the rule, the value, the remedy.

Read ``checks`` for single values, ``json_data`` for those that hold others, ``pydantic_errors`` for
settings, ``wording`` for what an error may show, ``packages`` for what isn't installed and for
warnings. Knows values, and errors of the package. Doesn't know what is validated.
"""
