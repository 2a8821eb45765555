"""What an answer says that it cost, whatever was asked before it."""

from typing import Any


def counted(usage: Any) -> dict[str, Any]:
    """Usage without the tokens that were in the cache, as those depend on earlier calls."""
    details = {k: v for k, v in usage["input_token_details"].items() if k != "cache_read"}
    return {**usage, "input_token_details": details}
