"""The version of the installed package."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version, "0" where the package is used from a folder without being installed."""
    try:
        return version("langchain-amulet")
    except PackageNotFoundError:
        return "0"


VERSION = installed_version()
"""Looked up once, at import: it reads from disk, which an event loop shouldn't wait for."""
