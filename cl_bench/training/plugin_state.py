"""What plug-ins carry from stage to stage and from epoch to epoch: kept with both, so that a run resumes at any.

A plug-in carries something by having `state_dict()`, which returns tensors by name, and `load_state_dict(tensors)`. One
that gathers nothing while it trains says `stateless = True`; of any other it is not known what it holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from cl_bench.plugins.traits import carries


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


def _carriers(plugins: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    seen: Counter[str] = Counter()
    for plugin in filter(carries, plugins):
        name = type(plugin).__name__
        yield f"{name}.{seen[name]}", plugin
        seen[name] += 1
