"""Whether the bundled model learned it, and the settings of the published results.

Knows the corpus and a trained model. Doesn't know how it was trained.
"""
