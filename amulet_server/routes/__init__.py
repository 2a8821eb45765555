"""What a server answers, path by path.

Knows services, callers and OpenAI's API, and brings them together. Doesn't know how HTTP is spoken.
"""
