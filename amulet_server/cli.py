"""`langchain-amulet serve`: a model behind OpenAI's API, each user answered in their own style."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from langchain_amulet.cli.options import reporting
from langchain_amulet.validation.packages import needing

CONFIG = "LANGCHAIN_AMULET_SERVE_CONFIG"


def serve(
    config: Annotated[
        Path | None, typer.Option(envvar=CONFIG, help="Settings as TOML; options override it.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="`pocket`, a Hub id, a folder of a causal LM, or a GGUF file."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="Where preferences are kept: a file, a PostgreSQL URL, or module:name."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen at, else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen at, else 8000.")] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Answer anybody who can reach the address.")
    ] = False,
    backend: Annotated[str | None, typer.Option(help="What runs the model, else auto.")] = None,
    device: Annotated[str | None, typer.Option(help="Such as cuda:0.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Such as bfloat16.")] = None,
) -> None:
    """Answer OpenAI's clients, each user in their own style; see docs/serve.md.

    Every setting, those of the config file included, can be given by the environment, too, as
    LANGCHAIN_AMULET_SERVE_ and its name.
    """
    load = _given(backend=backend, device=device, dtype=dtype)
    options = _given(model=model, store=store, host=host, port=port, no_auth=no_auth, load=load)
    with reporting():
        with needing("serve", "Serving"):
            from amulet_server.config_reading import read_settings
            from amulet_server.running import run
        run(read_settings(config, **options))


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value not in (None, False, {})}
