"""What a plug-in says of what it holds between stages."""

from __future__ import annotations

from typing import Any

from cl_bench.plugins.registry import code_identity


def carries(plugin: Any) -> bool:
    """Return whether the plug-in carries something, and can be given it back."""
    return hasattr(plugin, "state_dict") and hasattr(plugin, "load_state_dict")


def storable(plugin: Any) -> bool:
    """Return whether all that the plug-in holds can be stored."""
    return getattr(plugin, "stateless", False) or carries(plugin)


def opaque(plugin: Any) -> bool:
    """Return whether the plug-in, which is from elsewhere, may hold anything: a stage with it starts anew, then."""
    return code_identity(plugin) is not None and not storable(plugin)
