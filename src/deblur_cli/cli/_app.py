"""The program as typer sees it: a group of commands, one of which need not be named."""

import copy
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from deblur_cli import __version__
from deblur_cli.errors import UsageError

DEFAULT_COMMAND = "run"

WORDS = {
    "int_parsing": "it takes a whole number",
    "int_parsing_size": "it takes a smaller number",
    "float_parsing": "it takes a number",
    "greater_than_equal": "it takes {ge} or more",
    "less_than_equal": "it takes {le} or less",
}
"""What a value has to be, by pydantic's names for what is wrong with it."""


class DefaultCommandGroup(TyperGroup):
    """`deblur PHOTO` is `deblur run PHOTO`; the program's help shows the options of `run`, and shells complete them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        if len(args) == 1 and args[0] in self.commands and Path(args[0]).is_file():
            raise UsageError(
                f"{args[0]!r} is a command", hint=f"For the file of that name: deblur ./{args[0]}"
            )
        own_options = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        if args and args[0] not in self.commands and args[0] not in own_options:
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        shown = copy.copy(self)
        shown.params = [*self.commands[DEFAULT_COMMAND].params, *self.params]
        TyperGroup.format_help(shown, ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:  # noqa: ANN401
        found = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            found += self.commands[DEFAULT_COMMAND].shell_complete(ctx, incomplete)
        return list({item.value: item for item in found}.values())

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401
        return ["PHOTO... [-o OUT]", "or", "deblur COMMAND ..."]


app = typer.Typer(
    cls=DefaultCommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run_app(args: list[str]) -> int:
    """Run a command; its exit code. UsageError for what typer finds wrong with the arguments."""
    wrong_usage: type[Any] = typer.BadParameter.__mro__[1]
    try:
        code = app(args, prog_name="deblur", standalone_mode=False)
    except wrong_usage as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            if told := error.format_message():  # typer with rich has shown it by now
                typer.echo(told, err=True)
            return 2
        command = error.ctx.command_path.removesuffix(f" {DEFAULT_COMMAND}") if error.ctx else "deblur"
        _use_our_words(error)
        raise UsageError(
            error.format_message(), hint=f"All options and what they take: {command} --help"
        ) from error
    return code if isinstance(code, int) else 0


def _use_our_words(error: Any) -> None:  # noqa: ANN401
    """For a value that typer has refused in those of pydantic, which speaks of inputs and parsing."""
    refusals: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    if refusals:
        told = refusals[0].get("ctx", {})
        error.message = WORDS.get(refusals[0]["type"], "{error}").format(**{"error": error.message, **told})


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"deblur {__version__}")
        raise typer.Exit


@app.callback(help="Sharpen blurred photos: [bold]deblur photo.jpg -o sharp.jpg[/]")
def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            callback=_show_version,
            is_eager=True,
            help="Show the version and leave.",
        ),
    ] = False,
) -> None:
    pass
