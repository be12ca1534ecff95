"""cl_bench: continual learning over streams of different kinds of vision tasks.

::

    import cl_bench

    results = cl_bench.run("quickstart", strategies="naive,kd", seeds=range(3), progress=True)
    print(results.table())
    results.curves()
    cl_bench.load_model(results, strategy="kd", seed=0).predict("photo.jpg")
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_HOME = {
    "DivergedError": "cl_bench.errors",
    "Experiment": "cl_bench.config.schema",
    "Harness": "cl_bench.training.harness",
    "Results": "cl_bench.api.results",
    "StageFailedError": "cl_bench.errors",
    "Task": "cl_bench.config.schema:TaskConfig",
    "UserError": "cl_bench.errors",
    "data_format": "cl_bench.plugins.registry",
    "kind": "cl_bench.plugins.registry",
    "list_backbones": "cl_bench.api.listing",
    "list_strategies": "cl_bench.api.listing",
    "load_model": "cl_bench.api.model",
    "load_results": "cl_bench.api.results",
    "run": "cl_bench.api.run",
    "strategy": "cl_bench.plugins.registry",
    "tracker": "cl_bench.plugins.registry",
}
"""Public name -> the module that has it, under another name where one follows."""
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    # Lazy, so that `import cl_bench` and `cl-bench --help` never pay for torch or pandas.
    if name not in _HOME:
        raise AttributeError(f"module 'cl_bench' has no attribute {name!r}")
    from importlib import import_module

    module, _, other = _HOME[name].partition(":")
    return getattr(import_module(module), other or name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
