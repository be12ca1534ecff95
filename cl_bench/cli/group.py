"""Commands in groups: how `--help` lists them, and what is said of words that none of them takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from cl_bench.cli.mistakes import better

if TYPE_CHECKING:
    Function = TypeVar("Function", bound=Callable[..., Any])

PANELS = {
    "Train": ("run", "config", "explain", "list", "rescore"),
    "Look": ("status", "table", "compare", "plot", "report", "gallery", "power", "track"),
    "Extend": ("strategy",),
    "Deploy": ("model",),
    "Data": ("data",),
    "Store": ("results",),
}
"""The commands that `--help` shows, by what they are for; one of none of these comes last."""
CALLED = {
    "train": "run",
    "fit": "run",
    "start": "run",
    "resume": "run",
    "eval": "rescore",
    "evaluate": "rescore",
    "test": "rescore",
    "score": "rescore",
    "show": "table",
    "ls": "list",
    "version": "--version",
}
"""What other tools call these commands."""
USAGE: type[Any] = typer.BadParameter.__mro__[1]
"""The error of a command line that is not understood: typer has click's, or from 0.26 on its own copy of it."""


@dataclass
class Flags:
    """What may stand anywhere on the line; debug: tracebacks of errors; quiet: results and errors alone."""

    debug: bool = False
    quiet: bool = False


flags = Flags()
_ANYWHERE = {"--debug": "debug", "-q": "quiet", "--quiet": "quiet"}


def take_out(words: Sequence[str]) -> list[str]:
    """Note what of `words` is for all commands, wherever it stands before a `--`, and return the others."""
    end = words.index("--") if "--" in words else len(words)
    for name in ("debug", "quiet"):
        setattr(flags, name, any(_ANYWHERE.get(word) == name for word in words[:end]))
    return [word for place, word in enumerate(words) if place >= end or word not in _ANYWHERE]


class Command(TyperCommand):
    """A command that says how what it does not understand is written."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words; of the error for what is wrong with them, better the message."""
        try:
            return super().parse_args(ctx, list(args))
        except USAGE as error:
            better(error, args, [name for option in self.params for name in option.opts])
            raise


class Root(TyperGroup):
    """All commands, listed by what they are for; an unknown one comes with what it is called here."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the first word names."""
        if args[0] in CALLED and args[0] not in self.commands:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {CALLED[args[0]]!r}?")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words in front of the command; `help COMMAND` is `COMMAND --help`."""
        words = take_out(args)
        return super().parse_args(ctx, [*words[1:], "--help"] if words[:1] == ["help"] else words)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands, a heading a group."""
        shown = {name: one for name, one in self.commands.items() if not one.hidden}
        named = {name for names in PANELS.values() for name in names}
        panels = {**PANELS, "Others": tuple(name for name in shown if name not in named)}
        width = max(map(len, shown))
        for panel, names in panels.items():
            rows = [
                (f"{n:<{width}}", shown[n].get_short_help_str(formatter.width - 6 - width)) for n in names if n in shown
            ]
            if rows:
                with formatter.section(panel):
                    formatter.write_dl(rows)


class ModelGroup(TyperGroup):
    """The commands of `model`, which without one of them shows the model, as it did before there were others."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `show` in front of what is neither a command nor a request for help."""
        helped = {"-h", "--help"} & set(args[:1])
        if args and not helped and not get_close_matches(args[0], self.commands, n=1, cutoff=0.75):
            args = ["show", *args]
        return super().parse_args(ctx, args)


class App(typer.Typer):
    """An application whose commands are `Command`s."""

    def __init__(self, **options: Any) -> None:
        """Make one; options: as typer's."""
        super().__init__(**{"no_args_is_help": True, "add_completion": False, "rich_markup_mode": None, **options})

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """Return what registers a function; options: as typer's."""
        return super().command(name, **{"cls": Command, **options})
