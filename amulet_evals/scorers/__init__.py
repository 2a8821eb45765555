"""What can be said of an answer, by counting, by a function, a reward model or a judge.

Knows answers and models. Doesn't know how answers were made or what is reported.
"""
