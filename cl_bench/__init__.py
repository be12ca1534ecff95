"""cl_bench: continual learning over streams of different kinds of vision tasks."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["Harness", "load_results", "run", "strategy"]

_HOME = {
    "Harness": "cl_bench.training.harness",
    "load_results": "cl_bench.results.rows",
    "run": "cl_bench.runner.run",
    "strategy": "cl_bench.plugins.registry",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that `import cl_bench` and `cl-bench --help` never pay for torch or pandas.
    if name not in _HOME:
        raise AttributeError(f"module 'cl_bench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
