"""What was asked for: one file per group of commands; they import what is slow when called; decides nothing itself."""

from cl_bench.cli import about, data, deploy, read, run, scores, storage, strategies  # noqa: F401
from cl_bench.cli.app import main

__all__ = ["main"]
