"""The API's commands: `serve`, `schema`, `token`."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from signal_pipeline.cli import console
from signal_pipeline.errors import SignalError, UsageError
from signal_pipeline.settings import load_settings

DEFAULT_PORT = 8000
MAX_WORKERS = 8  # Each can have seven connections to PostgreSQL, which allows 100 by default.


def serve(
    host: Annotated[str, typer.Option(help="The address to bind.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65535)
    ] = DEFAULT_PORT,
    workers: Annotated[
        str,
        typer.Option(
            metavar="N",
            help=f"How many processes share the port and the limits, 1 to {MAX_WORKERS}.",
        ),
    ] = "1",
    no_gateway: Annotated[
        bool,
        typer.Option(
            "--no-gateway", help="Development on loopback: take requests that no gateway signed."
        ),
    ] = False,
) -> None:
    """Serve the GraphQL subgraph."""
    number = _parse_workers(workers)
    from signal_pipeline.api.server import WithoutGatewayError, run_server

    logging.getLogger("signal_pipeline").setLevel(logging.INFO)
    settings, gateway = load_settings(), not no_gateway
    try:
        if number == 1:
            run_server(settings, host, port, gateway=gateway, say=console.say)
        else:
            from signal_pipeline.api.workers import run_workers

            run_workers(settings, host, port, number, gateway=gateway, say=console.say)
    except WithoutGatewayError as error:
        raise SignalError(f"--no-gateway: {error}") from None


def _parse_workers(text: str) -> int:
    if text not in map(str, range(1, MAX_WORKERS + 1)):
        raise UsageError(f"--workers {text!r}: write a number from 1 to {MAX_WORKERS}")
    return int(text)


def schema() -> None:
    """Print the subgraph's SDL."""
    from signal_pipeline.api.graphql.schema import sdl

    sys.stdout.write(sdl())


def token(
    user: Annotated[str, typer.Option(help="The user id that the token names.")],
    admin: Annotated[
        bool, typer.Option("--admin", help="May read raw events; the sample reads some.")
    ] = False,
    analyst: Annotated[bool, typer.Option("--analyst", help="May read aggregates.")] = False,
    url: Annotated[
        str, typer.Option(help="Where `serve` listens.")
    ] = f"http://127.0.0.1:{DEFAULT_PORT}/graphql",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the request as one JSON object instead.")
    ] = False,
) -> None:
    """Print a signed sample request, as a curl command; development only."""
    from signal_pipeline.api.identity.development import sample_request

    sample = sample_request(load_settings(), user, admin=admin, analyst=analyst, url=url)
    if as_json:
        console.print_json({"url": sample.url, "headers": sample.headers, "body": sample.body})
    else:
        sys.stdout.write(sample.curl() + "\n")
