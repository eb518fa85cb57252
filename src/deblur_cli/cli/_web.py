"""`deblur web`: a page in the browser."""

from typing import Annotated

import typer

from deblur_cli.cli._app import app
from deblur_cli.cli._options import Download, MaxMegapixels, Weights, checked_limit, flag
from deblur_cli.errors import UsageError


@app.command()
def web(
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, metavar="N", help="Where to serve it.", show_default="any that is free"
        ),
    ] = 0,
    no_browser: Annotated[bool, flag("--no-browser", help="Only print the address of the page.")] = False,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Let other computers use the page, by this address of ours (0.0.0.0: all). Their photos and the password cross the network unencrypted.",
        ),
    ] = "127.0.0.1",
    password: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            envvar="DEBLUR_WEB_PASSWORD",
            help="What a browser must be told; needed with --host.",
            show_default="none",
        ),
    ] = None,
    weights: Weights = "auto",
    download: Download = False,
    max_megapixels: MaxMegapixels = 200,
) -> None:
    """Open a page in the browser: drop photos, see them sharpen, save."""
    try:
        from deblur_cli.web import Settings, serve
    except ImportError as error:
        if not (error.name or "").startswith(("starlette", "uvicorn")):
            raise
        raise UsageError(
            "the page needs libraries that are not installed",
            hint="Install them: pip install 'deblur-cli[web]'",
        ) from error

    if download:
        from deblur_cli.cli._weights import fetched
        from deblur_cli.console import Console

        weights = fetched(weights, Console())

    def say(address: str) -> None:
        typer.echo("Open this address; Ctrl-C here ends it, and removes the photos it holds.", err=True)
        typer.echo(address)

    serve(Settings(host, port, password, weights, checked_limit(max_megapixels), not no_browser), say)
