"""Who is talking, and in whose name: keys, signed and trusted headers, and what a body may say.

Knows headers and addresses. Doesn't know what is asked, or what anybody prefers.
"""
