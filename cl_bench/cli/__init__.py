"""What was asked for: a file a group of commands, which import what is slow when called; decides nothing itself."""

from cl_bench.cli import about, data, deploy, read, run, scores, storage, strategies  # noqa: F401
from cl_bench.cli.app import main

__all__ = ["main"]
