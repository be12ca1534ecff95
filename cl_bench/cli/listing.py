"""What there is to choose from, one line each, for `cl-bench list`."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from cl_bench.config.names import KEPT_AS
from cl_bench.config.presets import load_experiment, presets
from cl_bench.errors import UserError
from cl_bench.plugins.composition import parse
from cl_bench.plugins.registry import Registry, formats, kinds
from cl_bench.plugins.registry import strategies as strategy_registry


def strategies() -> list[str]:
    """Return every strategy with its settings, and how it resumes; then what could not be imported."""
    lines = []
    for name in strategy_registry:
        entry = strategy_registry.get(name)
        settings = ", ".join(f"{p.name}={p.default}" for p in entry.parameters.values() if p.default is not p.empty)
        paper = f" ({entry.paper})" if entry.paper else ""
        lines.append(f"{name:<16}{entry.summary}{paper}; {_resume(name)}{f' [{settings}]' if settings else ''}")
    lines.append("An Avalanche plug-in by its dotted path, e.g. avalanche.training.plugins.EWCPlugin[ewc_lambda=1.0]:")
    lines.append("                acts from stage 1 and resumes as a whole; which work is in docs/how-to/avalanche.md")
    return lines + _broken(strategy_registry)


def _resume(name: str) -> str:
    try:
        chained = parse(name).chained
    except UserError:  # a strategy that cannot be built without settings
        return "needs settings"
    return "its stages resume as a whole" if chained else "resumes by stage"


def experiments() -> list[str]:
    """Return every preset with its description, and the name that it had before."""
    described = {name: load_experiment(name).description for name in presets()}
    return [f"{name:<28}{text}{_also(name)}" for name, text in described.items()]


def _also(name: str) -> str:
    return f" (also: {KEPT_AS[name]})" if name in KEPT_AS else ""


def _named(registry: Registry[Any]) -> list[str]:
    lines = []
    for name in registry:
        text = (type(registry.get(name)).__doc__ or "").strip().splitlines()[0]
        lines.append(f"{name:<16}{text}")
    return lines + _broken(registry)


def kinds_() -> list[str]:
    """Return every kind of task; then what a task of it may set under `settings`, with the defaults."""
    lines = _named(kinds)
    for name in kinds:
        fields = kinds.get(name).Settings.model_fields
        lines += [
            f"{name}.settings.{key} = {field.default}  {_choices(field.annotation)}" for key, field in fields.items()
        ]
    return [line.rstrip() for line in lines]


def _choices(annotation: Any) -> str:
    return f"({', '.join(map(str, get_args(annotation)))})" if get_origin(annotation) is Literal else ""


def formats_() -> list[str]:
    """Return every data format."""
    return _named(formats)


def backbones() -> list[str]:
    """Return the names of timm's backbones (those without features at strides 8, 16 and 32 are refused on use)."""
    import timm

    return timm.list_models()


def _broken(registry: Registry[Any]) -> list[str]:
    return [f"{name}: not importable: {reason}" for name, reason in registry.broken.items()]


LISTINGS = {
    "strategies": strategies,
    "experiments": experiments,
    "kinds": kinds_,
    "formats": formats_,
    "backbones": backbones,
}
