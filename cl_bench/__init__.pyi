from cl_bench.plugins.registry import strategy
from cl_bench.results.rows import load_results
from cl_bench.runner.run import run
from cl_bench.training.harness import Harness

__version__: str
__all__ = ["Harness", "load_results", "run", "strategy"]
