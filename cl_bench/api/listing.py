"""What there is to choose from, as lists of names."""

from __future__ import annotations

from fnmatch import fnmatch

from cl_bench.api.arguments import check


def list_strategies(filter: str = "") -> list[str]:
    """Return the names of all strategies, or of those that `filter` matches, in which `*` stands for anything.

    Example: `cl_bench.list_strategies("*replay*")`; `cl-bench list strategies` says what each does.
    """
    check(filter=filter)
    from cl_bench.plugins.registry import strategies

    return [name for name in strategies if fnmatch(name, filter or "*")]


def list_backbones(filter: str = "") -> list[str]:
    """Return the names of timm's backbones, or of those that `filter` matches, in which `*` stands for anything.

    Those whose feature maps cannot serve are refused on use. Example:
    `cl_bench.list_backbones("efficientnet*")`.
    """
    check(filter=filter)
    import timm

    return list(timm.list_models(filter))
