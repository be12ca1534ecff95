"""Strategies that were given as objects, declared under a name; and seeds in their several forms."""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import json
import re
from collections.abc import Iterable
from typing import Any

from cl_bench.api.arguments import is_whole
from cl_bench.errors import UserError
from cl_bench.plugins.code_origin import code_identity
from cl_bench.plugins.composition import parse, plugin_builder, read_value
from cl_bench.plugins.entry import StrategyEntry, check_name
from cl_bench.plugins.registry import strategies
from cl_bench.utils.parsing import split_choice

PLAIN = (bool, int, float, str, type(None))
"""What a setting may be, so that it can be written."""
_added: dict[str, StrategyEntry] = {}
"""What was given as an object and declared here, by name."""


def as_texts(given: Any) -> list[str]:
    """Return strategies as an experiment names them.

    given: a text ("naive,kd+replay"), an object, or a list of both. An object is a function that returns plug-ins, a
    plug-in class, or a plug-in whose class keeps its arguments as attributes of their names; it is declared under its
    `name`, else that of the function or class. Raises UserError for what has no name or no source, by which its stages
    could be told from others.
    """
    if isinstance(given, str):
        return split_choice(given, "strategies")
    several = isinstance(given, Iterable) and not _is_plugin(given)
    return [one if isinstance(one, str) else declared(one) for one in (given if several else [given])]


def as_seeds(given: Any) -> list[int]:
    """Return the seeds: of a number that one, of a range or a list those in it."""
    seeds = list(given) if isinstance(given, Iterable) else [given]
    if not all(map(is_whole, seeds)):
        raise UserError(f"seeds are whole numbers, such as 0, range(3) or [0, 1], not {given!r}")
    return list(map(int, seeds))


def declared(thing: Any) -> str:
    """Declare `thing` a strategy where it is none yet, and return the text that names it with its settings."""
    strategies.load()
    subject = type(thing) if _is_plugin(thing) and not inspect.isclass(thing) else thing
    for name, entry in strategies.entries.items():
        if any(subject is one for one in (entry.build, getattr(entry.build, "__wrapped__", entry.build))):
            return _with_settings(thing, name)
    if not callable(subject) or (inspect.isclass(subject) and not _is_plugin(subject)):
        raise UserError(f"a strategy is a name, a function that returns plug-ins, or a plug-in, not {thing!r}")
    name = str(getattr(thing, "name", None) or getattr(subject, "__name__", ""))
    check_name(name or repr(thing))
    if inspect.isclass(subject) and subject.__module__.partition(".")[0] == "avalanche":
        return _with_settings(thing, f"{subject.__module__}.{subject.__qualname__}")
    build = plugin_builder(subject) if inspect.isclass(subject) else subject
    summary = (inspect.getdoc(subject) or "").partition("\n")[0]
    entry = StrategyEntry(name, build, summary)
    code_identity(entry)  # whose source is not known, nothing can be trained with
    strategies.add(name, entry)
    _added[name] = entry
    return _with_settings(thing, name)


def is_of_this_process(text: str) -> bool:
    """Return whether a part of the strategy was declared in this process alone, so that no other one knows it."""
    named = re.findall(r"(?:^|\+)\s*([A-Za-z_][\w-]*)", text)
    entries = [strategies.entries[name] for name in named if name in strategies.entries]
    return any(_added.get(entry.name) is entry or not _is_found_anywhere(entry) for entry in entries)


def _is_found_anywhere(entry: StrategyEntry) -> bool:
    """Return whether every process finds the strategy: in this package, an installed one or a plugin file."""
    module = inspect.unwrap(entry.build).__module__
    points = importlib.metadata.entry_points(group=strategies.group)
    packages = {"cl_bench", *(point.module.partition(".")[0] for point in points)}
    return module.partition(".")[0] in packages or module.startswith("cl_bench_plugin_")


def _is_plugin(thing: Any) -> bool:
    return hasattr(thing, "before_training_exp")


def _with_settings(thing: Any, name: str) -> str:
    """Return the strategy `name` as written, with the settings of a plug-in; a class or a function has its defaults.

    Raises UserError for settings that cannot be read from the object, or would be read back as others.
    """
    settings = {} if inspect.isclass(thing) or not _is_plugin(thing) else _settings(thing, name)
    if not settings:
        return name
    text = f"{name}[{','.join(f'{setting}={_written(value)}' for setting, value in settings.items())}]"
    try:
        read = parse(text).terms[0].settings
    except UserError as error:
        raise UserError(f"strategy {name}: its arguments cannot be written as settings: {error}") from error
    for setting, value in settings.items():
        if read[setting] != value:
            raise UserError(
                f"strategy {name}: its argument {setting}={value!r} cannot be written as a setting, which is read as "
                f"{read[setting]!r}: give a class or a function that has it as its default"
            )
    return text


def _settings(thing: Any, name: str) -> dict[str, Any]:
    """Return the arguments of a plug-in that are not their defaults."""
    found = {}
    for setting, parameter in inspect.signature(type(thing)).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = getattr(thing, setting, parameter.empty)
        if not isinstance(value, PLAIN):
            raise UserError(
                f"strategy {name}: its argument {setting!r} cannot be read from the object, so that its stages could"
                f" not be told from others: keep it as self.{setting}, a number or a text, or give the class"
            )
        if value != parameter.default:
            found[setting] = value
    return found


def _written(value: Any) -> str:
    """Return a value as a strategy's settings have it; a text in quotes where it would be read as something else."""
    if not isinstance(value, str):
        return "null" if value is None else str(value)
    with contextlib.suppress(UserError):
        if read_value(value) == value:
            return value
    return json.dumps(value, ensure_ascii=False)
