"""A page at `/` on which a conversation is had in a browser, plainly, prompted and steered at once.

Its files are in `static/` as browsers read them: HTML, CSS and modules of JavaScript, with nothing
to be built. It speaks to the server as docs/serve.md has it for everybody, and to nobody else.

Knows how the files are sent. Doesn't know what the page does with answers.
"""
