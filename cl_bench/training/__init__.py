"""One stage, step by step; knows no plan, no store and no strategy by name."""

from cl_bench.training.harness import Harness

__all__ = ["Harness"]
