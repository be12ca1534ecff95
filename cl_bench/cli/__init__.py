"""The command line: a file a group of commands; what is slow to import is imported inside each."""

from cl_bench.cli import run, read, scores, about, strategies, storage, deploy, data  # noqa: F401 # isort: skip; the order of `--help`
from cl_bench.cli.app import main

__all__ = ["main"]
