"""Commands that pages show: that the command line knows what they say."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from functools import cache

import pytest

from cl_bench import cli
from cl_bench.config.sweeps import spread
from cl_bench.plugins.composition import parse
from cl_bench.utils.parsing import split_list

GROUPS = ("data", "model", "results", "strategy")


@cache
def help_of(command: tuple[str, ...]) -> str:
    """Return what `cl-bench ... --help` shows; many pages show the same few commands."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as shown:
        patch.setattr(sys, "argv", [*command, "--help"])
        patch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as left:
            cli.main()
    assert left.value.code == 0
    return shown.getvalue()


def assert_understood(words: Sequence[str]) -> None:
    """Hold the words of a `cl-bench ...` to the command's help: its options, and the strategies that it names."""
    shown = help_of(tuple(words[: 3 if words[1] in GROUPS else 2]))
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in shown]
    assert unknown == []
    if words[1] == "run" and "--strategies" in words and "--plugin" not in words:
        for text in split_list(words[words.index("--strategies") + 1]):
            for strategy in spread(text):
                parse(strategy)
