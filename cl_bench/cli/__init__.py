"""What was asked for: a file a group of commands, which import what is slow when called; decides nothing itself."""

from cl_bench.cli import run, read, scores, about, strategies, storage, deploy, data  # noqa: F401 # isort: skip; the order of `--help`
from cl_bench.cli.app import main

__all__ = ["main"]
