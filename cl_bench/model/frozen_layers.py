"""Layers that are frozen: what they make of a batch once, every model that has the same ones need not compute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from cl_bench.utils.hashing import digest


def frozen_parts(module: nn.Module, name: str = "") -> dict[str, nn.Module]:
    """Return by name the largest parts of `module`, itself ("") included, that have parameters and learn none."""
    learning = [p.requires_grad for p in module.parameters()]
    if all(learning):  # then all parts do, and need no visit; true without parameters, too
        return {}
    if not any(learning):
        return {name: module}
    prefix = f"{name}." if name else ""
    children = module.named_children()
    return {k: v for child, part in children for k, v in frozen_parts(part, f"{prefix}{child}").items()}


def shared_layers(mine: nn.Module, theirs: nn.Module) -> frozenset[str]:
    """Return the names of the frozen layers of `mine` of which `theirs` has the same, statistics included."""
    return frozenset(
        name
        for name, part in frozen_parts(mine).items()
        if digest(part.state_dict()) == digest(theirs.get_submodule(name).state_dict())
    )


@contextmanager
def recording(module: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield by name what the parts `names` of `module` return, filled as it runs; without those that run twice."""
    outputs: dict[str, Any] = {}
    ran: set[str] = set()

    def keep(name: str, output: Any) -> None:
        outputs[name] = output
        if name in ran:
            del outputs[name]
        ran.add(name)

    with ExitStack() as hooks:
        for name in names:
            hook = module.get_submodule(name).register_forward_hook(lambda *a, name=name: keep(name, a[-1]))
            hooks.callback(hook.remove)
        yield outputs


@contextmanager
def replaced(module: nn.Module, outputs: Mapping[str, Any]) -> Iterator[None]:
    """Let the parts of `module` that `outputs` names return these in place of running."""
    parts = [(module.get_submodule(name), output) for name, output in outputs.items()]
    for part, output in parts:
        # An instance attribute hides the method of the class.
        part.forward = lambda *_, output=output, **__: output
    try:
        yield
    finally:
        for part, _ in parts:
            del part.forward
