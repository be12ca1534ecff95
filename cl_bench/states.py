"""What plug-ins carry from stage to stage and from epoch to epoch: kept with both, so that a run resumes at any.

A plug-in carries something by having `state_dict()`, which returns tensors by name, and `load_state_dict(tensors)`. One
that gathers nothing while it trains says `stateless = True`; of any other it is not known what it holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from cl_bench.registry import code_identity


def collect(plugins: Sequence[Any]) -> dict[str, Tensor]:
    """Return the tensors of all plug-ins that carry any, in one flat mapping."""
    return {
        f"{owner}/{name}": tensor.detach().cpu().contiguous()
        for owner, plugin in _carriers(plugins)
        for name, tensor in plugin.state_dict().items()
    }


def restore(plugins: Sequence[Any], stored: Mapping[str, Tensor]) -> None:
    """Give every plug-in its tensors back; one of which nothing is stored is left as it is."""
    for owner, plugin in _carriers(plugins):
        own = {key.removeprefix(f"{owner}/"): tensor for key, tensor in stored.items() if key.startswith(f"{owner}/")}
        if own:
            plugin.load_state_dict(own)


def carries(plugin: Any) -> bool:
    """Return whether the plug-in carries something, and can be given it back."""
    return hasattr(plugin, "state_dict") and hasattr(plugin, "load_state_dict")


def storable(plugin: Any) -> bool:
    """Return whether all that the plug-in holds can be stored."""
    return getattr(plugin, "stateless", False) or carries(plugin)


def opaque(plugin: Any) -> bool:
    """Return whether the plug-in, which is from elsewhere, may hold anything: a stage with it starts anew, then."""
    return code_identity(plugin) is not None and not storable(plugin)


def _carriers(plugins: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    seen: Counter[str] = Counter()
    for plugin in filter(carries, plugins):
        name = type(plugin).__name__
        yield f"{name}.{seen[name]}", plugin
        seen[name] += 1
