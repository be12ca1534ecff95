"""How does one stage go, step by step; knows no plan, and no strategy by name."""

from cl_bench.training.harness import Harness

__all__ = ["Harness"]
