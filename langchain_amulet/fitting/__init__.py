"""A user's strength and weights, fitted to answers that they liked or chose.

Knows examples, log-probabilities and the maths of the fit. Doesn't know chat models or stores.
"""
