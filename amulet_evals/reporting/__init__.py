"""Tables, plots and a page, made anew from a run's folder.

Knows numbers, matplotlib and HTML. Doesn't know models.
"""
