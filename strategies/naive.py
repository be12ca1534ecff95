"""Naive fine-tuning: each task's own loss and nothing against forgetting."""

from __future__ import annotations

from typing import Any

from cl_bench.plugins.registry import strategy


@strategy("naive", summary="fine-tuning, nothing against forgetting (the lower bound)", neutral={})
def naive() -> list[Any]:
    """Add nothing."""
    return []
