"""Property tests find the same examples every time, and aren't timed: machines differ."""

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
