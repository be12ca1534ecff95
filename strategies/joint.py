"""Joint training: all tasks at once with the summed budget, single-task batches in turn."""

from __future__ import annotations

from typing import Any

from cl_bench.plugins.registry import strategy


@strategy("joint", summary="all tasks in one stage with the summed budget (often an upper bound)", together=True)
def joint() -> list[Any]:
    """Add nothing: what differs is the stage, which holds every task."""
    return []
