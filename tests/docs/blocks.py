"""The blocks of code of a page, and how they are run."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cl_bench import cli
from cl_bench.config.names import kept_as

ROOT = Path(__file__).parent.parent.parent
MARK = r"(?:<!-- not run: (?P<why>.*?) -->\n)?"
FENCE = r"```(?P<language>\w+)(?: title=\"(?P<file>.*?)\")?\n(?P<text>.*?)```"
BLOCK = re.compile(MARK + FENCE, re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block; file: the name that a reader saves it under; why: it is not run, empty where it is."""

    language: str
    file: str
    text: str
    why: str

    @property
    def commands(self) -> Iterator[list[str]]:
        """The words of each command; lines that end with a backslash go on."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in their order."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(one["language"], one["file"] or "", one["text"], one["why"] or "") for one in found]


def run(words: list[str]) -> None:
    """Run a command of cl-bench in this process, with the variables set before it.

    What it reads of committed results is there, as in a clone.
    """
    start = words.index("cl-bench") if "cl-bench" in words else 0
    assigned, words = words[:start], words[start:]
    assert words[0] == "cl-bench", f"{words[0]} is not run by tests: say so, or leave it out"
    root, here = ROOT / "results", Path("results")
    for word in map(kept_as, words[1:]):
        if re.fullmatch(r"\w+", word) and (root / word / "plan.json").is_file() and not (here / word).exists():
            shutil.copytree(root / word, here / word)
    with pytest.MonkeyPatch.context() as patch:
        for name, _, value in (one.partition("=") for one in assigned):
            patch.setenv(name, value)
        patch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as left:
            cli.main()
    assert left.value.code in (0, None), shlex.join(words)


def play(page: Path) -> int:
    """Do in the current folder what a reader of the page does: save files, run commands and Python.

    Return how many commands and blocks of Python ran.
    """
    names: dict[str, Any] = {}
    done = 0
    for block in blocks(page):
        if block.file:
            Path(block.file).write_text(block.text)
        elif block.why:
            continue
        elif block.language == "bash":
            for words in block.commands:
                run(words)
                done += 1
        elif block.language == "python":
            exec(compile(block.text, page.name, "exec"), names)
            done += 1
    return done
