"""`langchain-amulet serve`: a model behind OpenAI's API, each user answered in their own style."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from langchain_amulet.cli.options import reporting
from langchain_amulet.errors import ConfigurationError

if TYPE_CHECKING:
    from amulet_server.config import ServerSettings

CONFIG = "LANGCHAIN_AMULET_SERVE_CONFIG"


def serve(
    config: Annotated[
        Path | None, typer.Option(envvar=CONFIG, help="Settings as TOML; options override it.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="`pocket`, a Hub id, or a local folder of a causal LM.")
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
        try:
            from amulet_server.config import read_settings

            settings = read_settings(config, **options)
            _run(settings)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"This command needs the package {error.name}, which isn't installed: install "
                "langchain-amulet[serve]."
            ) from error


def _run(settings: ServerSettings) -> None:
    import uvicorn

    from amulet_server.app import create_app
    from amulet_server.service import opened
    from amulet_server.transport.logs import log_as_json
    from langchain_amulet.cli.models import quiet_loading

    quiet_loading()
    with opened(settings) as service:
        log_as_json(settings.log_level)
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(service),
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,  # it would log queries; there is a line for each request anyway
                proxy_headers=False,  # who connects is who is trusted, or isn't
                server_header=False,
                timeout_graceful_shutdown=settings.drain_seconds,
            )
        )
        service.readiness.on_failure = lambda: setattr(server, "should_exit", True)
        _announce(settings)
        server.run()
        if service.readiness.failure is not None:
            raise service.readiness.failure


def _announce(settings: ServerSettings) -> None:
    who = "anybody who can reach it" if settings.lets_anybody_in else "callers with a key or header"
    kept = settings.store is not None
    Console(stderr=True).print(
        Text(
            f"Serving {settings.model_name} at http://{settings.host}:{settings.port}/v1 to {who}; "
            f"preferences are {'kept' if kept else 'not kept, as there is no --store'}."
        ),
        soft_wrap=True,
    )


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value not in (None, False, {})}
