"""OpenAI's API as data: requests as they are checked, answers and errors as they are written.

Knows what is on the wire and what it means to a chat model. Doesn't know HTTP, users or stores.
"""
