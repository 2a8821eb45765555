"""HTTP as this server needs it: bodies within limits, events, callers who leave, and logged lines.

Knows ASGI and Starlette. Doesn't know OpenAI's API, users or models.
"""
