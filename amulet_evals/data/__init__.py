"""What is asked, and in which styles.

Knows files and the Hub's data sets. Doesn't know models, methods or answers.
"""
