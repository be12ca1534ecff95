"""What is registered: strategies, kinds and formats of this package."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_args, get_origin

from cl_bench.plugins.entry import StrategyEntry
from cl_bench.plugins.registry import Registry, formats, kinds, strategies
from tools.reference.text import code, one_line, table
from tools.reference.text import page as whole_page


def strategies_page() -> str:
    """Return the page of strategies."""
    rows = []
    parts = []
    for name in _own(strategies):
        entry = strategies.get(name)
        rows.append((f"[{code(name)}](#{_anchor(name)})", entry.summary, _paper(entry)))
        parts += [f"## `{name}`", _sentence(entry)]
        if settings := [_setting(one) for one in entry.parameters.values()]:
            parts.append(table(("setting", "takes", "default"), settings))
        if said := one_line(inspect.getdoc(entry.build)).removeprefix("Return "):
            parts.append(said[0].upper() + said[1:])
    opening = (
        "For whoever writes `strategies:`. Settings are set in brackets, and strategies compose: `kd[weight=5]+replay`."
        " What each keeps and costs is in [strategies](../explanation/strategies.md)."
    )
    return whole_page("Strategies", opening, table(("strategy", "what it does", "paper"), rows), *parts)


def kinds_page() -> str:
    """Return the page of kinds of task and of formats of data."""
    parts = ["## Kinds"]
    rows = [(code(name), one_line(inspect.getdoc(kinds.get(name))), _metrics(kinds.get(name))) for name in _own(kinds)]
    parts.append(table(("kind", "what it learns, and how it is scored", "metrics, the headline one first"), rows))
    settings = [
        (code(f"{name}.{key}"), _choices(field.annotation), code(field.default))
        for name in _own(kinds)
        for key, field in kinds.get(name).Settings.model_fields.items()
    ]
    parts += ["### What a task may set under `settings`", table(("setting", "takes", "default"), settings)]
    parts.append("## Formats")
    read = [(code(name), ", ".join(formats.get(name).kinds), _told(formats.get(name))) for name in _own(formats)]
    parts.append(table(("format", "kinds", "what it reads"), read))
    opening = (
        "For whoever writes a task: its `kind`, and the `format` of its `data`. Which tool exports which layout is in"
        " [data](../how-to/data.md)."
    )
    return whole_page("Kinds and formats", opening, *parts)


def _own(registry: Registry[Any]) -> list[str]:
    """Return the names that this package has declared, and no plug-in of the same process."""

    def home(name: str) -> str:
        thing = registry.get(name)
        return str(
            inspect.unwrap(thing.build).__module__ if isinstance(thing, StrategyEntry) else type(thing).__module__
        )

    return [name for name in registry if home(name).startswith("cl_bench.")]


def _anchor(name: str) -> str:
    return re.sub(r"[^\w -]", "", name).lower().replace(" ", "-")


def _paper(entry: StrategyEntry) -> str:
    return re.sub(r"arXiv:([\d.]+\d)", r"[\1](https://arxiv.org/abs/\1)", entry.paper)


def _sentence(entry: StrategyEntry) -> str:
    first = entry.summary.partition(" ")[0]
    text = entry.summary if first in strategies.entries else entry.summary[:1].upper() + entry.summary[1:]
    neutral = ", ".join(f"{name}={value}" for name, value in (entry.neutral or {}).items())
    equal = f" It is naive, bit for bit, at `{neutral}`." if neutral else ""
    return f"{text.rstrip('.')}.{f' {_paper(entry)}.' if entry.paper else ''}{equal}"


def _setting(parameter: inspect.Parameter) -> tuple[str, str, str]:
    default = "needed" if parameter.default is inspect.Parameter.empty else code(parameter.default)
    return code(parameter.name), _choices(parameter.annotation), default


def _choices(annotation: Any) -> str:
    """Return in words what an annotation allows."""
    bounds = [str(one) for one in getattr(annotation, "__metadata__", ())]
    if bounds:
        limits = [match for one in bounds for match in re.findall(r"(ge|gt|le|lt)=([\d.e-]+)", one)]
        signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
        said = ", ".join(f"{signs[key]} {value}" for key, value in limits)
        return f"{_choices(get_args(annotation)[0])}{f', {said}' if said else ''}"
    if str(get_origin(annotation)) == "typing.Literal":
        return ", ".join(code(one) for one in get_args(annotation))
    if get_args(annotation):
        return " or ".join(_choices(one) for one in get_args(annotation) if one is not type(None))
    names = {float: "number", int: "whole number", bool: "true or false", str: "text"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _metrics(kind: Any) -> str:
    return ", ".join(kind.metrics)


def _told(reader: Any) -> str:
    return " ".join((inspect.getdoc(reader) or "").split())
