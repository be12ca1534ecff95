"""What was asked for: one file per group of commands; slow imports are left to each; decides nothing itself."""

from cl_bench.cli import about, data, deploy, read, run, scores, storage, strategies  # noqa: F401
from cl_bench.cli.app import main

__all__ = ["main"]
