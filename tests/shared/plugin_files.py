"""Plug-in files for tests."""

from __future__ import annotations

from pathlib import Path

STRATEGY = """
from cl_bench.plugins.registry import strategy

@strategy("{name}", summary="mine")
def build(weight: float = {weight}):
    return []
"""


def write_plugin(
    folder: Path, file: str = "mine.py", content: str = STRATEGY, name: str = "mine", weight: float = 1.0
) -> Path:
    """Write a plug-in file into `folder` and return its path."""
    path = folder / file
    path.write_text(content.replace("{name}", name).replace("{weight}", str(weight)))
    return path
