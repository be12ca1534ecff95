"""Commands that pages show: that the command line knows what they say."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from cl_bench import cli
from cl_bench.config.sweeps import spread
from cl_bench.plugins.composition import parse
from cl_bench.utils.parsing import split_list

GROUPS = ("data", "model", "results", "strategy")


def assert_understood(
    words: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hold the words of a `cl-bench ...` to the command's help: its options, and the strategies that it names."""
    monkeypatch.setattr(sys, "argv", [*words[: 3 if words[1] in GROUPS else 2], "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 0
    shown = capsys.readouterr().out
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in shown]
    assert unknown == []
    if words[1] == "run" and "--strategies" in words and "--plugin" not in words:
        for text in split_list(words[words.index("--strategies") + 1]):
            for strategy in spread(text):
                parse(strategy)
