"""The commands, from the functions that are registered with the application."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import typer

from tools.reference.text import code, table
from tools.reference.text import page as whole_page

EXITS = [
    ("0", "all is there"),
    ("1", "a stage failed, or `strategy check` found something wrong"),
    ("2", "something that was asked for cannot be; one sentence says what"),
    ("130", "stopped by Ctrl-C or SIGTERM"),
]
TYPES = {str: "text", int: "whole number", float: "number", Path: "path"}


def page() -> str:
    """Return the page."""
    import cl_bench.cli  # noqa: F401 - it declares the commands
    from cl_bench.cli.app import app

    parts: list[str] = []
    for name, command in _leaves("cl-bench", app):
        parts += [f"## `{name}`", _help(command.callback)]
        rows = [row for one in _parameters(command.callback) if (row := _row(one)) is not None]
        if rows:
            parts.append(table(("argument or option", "takes", "default", "meaning"), rows))
    before_all = app.registered_callback.callback if app.registered_callback else None
    shared = [row for one in _parameters(before_all) if (row := _row(one)) is not None] if before_all else []
    opening = (
        "For whoever looks an option up. Every command, its arguments and options; `cl-bench COMMAND --help` says the"
        " same."
    )
    before = table(("for all commands", "takes", "default", "meaning"), shared)
    return whole_page("Commands", opening, before, *parts, "## Exit codes", table(("code", "meaning"), EXITS))


def _leaves(name: str, app: typer.Typer) -> Iterator[tuple[str, Any]]:
    """Yield the commands by what is typed, those of groups included; hidden ones are older names."""
    for command in app.registered_commands:
        if not command.hidden:
            word = command.name or command.callback.__name__.replace("_", "-")  # type: ignore[union-attr]
            yield f"{name} {word}", command
    for group in app.registered_groups:
        if group.hidden is not True:
            inner = group.typer_instance
            assert inner is not None
            word = group.name if isinstance(group.name, str) else inner.info.name
            yield from _leaves(f"{name} {word}", inner)


def _help(function: Any) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (inspect.getdoc(function) or "").split("\n\n"))


def _parameters(function: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(function, eval_str=True).parameters.values())


def _row(parameter: inspect.Parameter) -> tuple[str, str, str, str] | None:
    """Return what is said of a parameter; None of one that is no user's."""
    if get_origin(parameter.annotation) is not Annotated:
        return None
    kind, info, *_ = get_args(parameter.annotation)
    if getattr(info, "hidden", False):
        return None
    several = _inner(kind) is not kind and get_origin(_without_none(kind)) in (list, tuple)
    if isinstance(info, typer.models.ArgumentInfo):
        name = code((info.metavar or parameter.name).upper()) + (" ..." if several else "")
    else:
        # In an annotation the first name stands where a default would.
        first = (info.default,) if isinstance(info.default, str) and info.default.startswith("-") else ()
        decls = (*first, *(info.param_decls or ())) or (f"--{parameter.name.replace('_', '-')}",)
        name = ", ".join(code(one) for one in decls)
    meaning = " ".join((info.help or "").split())
    metavar = None if isinstance(info, typer.models.ArgumentInfo) else info.metavar
    return name, _takes(_inner(kind), metavar), _default(parameter), meaning


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        return next(one for one in get_args(kind) if one is not type(None))
    return kind


def _inner(kind: Any) -> Any:
    """Return of a type that may be None, or of a list, what there is one of."""
    kind = _without_none(kind)
    return get_args(kind)[0] if get_origin(kind) in (list, tuple) else kind


def _takes(kind: Any, metavar: str | None) -> str:
    if kind is bool:
        return ""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(code(one.value) for one in kind)
    return metavar or TYPES.get(kind, "text")


def _default(parameter: inspect.Parameter) -> str:
    default = parameter.default.value if isinstance(parameter.default, Enum) else parameter.default
    if default is inspect.Parameter.empty:
        return "needed"
    return "" if default is None or default is False or default == "" else code(default)
