"""Plug-in files, and registries that forget what a test has added."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cl_bench.plugins.registry import formats, kinds, strategies

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


@contextmanager
def restored() -> Iterator[None]:
    """Everything loaded, and what was added gone afterwards."""
    registries = (strategies, kinds, formats)
    for registry in registries:
        registry.load()
    before = [(dict(registry.entries), dict(registry.broken)) for registry in registries]
    modules, path = set(sys.modules), list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path
        for registry, (entries, broken) in zip(registries, before, strict=True):
            registry.entries, registry.broken = entries, broken
        for name in set(sys.modules) - modules:
            if name.startswith("cl_bench_plugin_"):
                del sys.modules[name]
