"""The made-up world that the bundled model learns: dialogues, tools, facts and styles.

Knows words and random numbers. Doesn't know tokens or models.
"""
