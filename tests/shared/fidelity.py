"""Which test holds which strategy to which paper's formula, as the tests say: docs/reference/fidelity.md."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from written import rewritten

TESTS = Path(__file__).parent.parent / "strategies"
PAGE = TESTS.parent.parent / "docs" / "reference" / "fidelity.md"
BEGIN, END = "<!-- built from the tests: make fidelity -->\n", "<!-- end of what is built -->\n"
OWN, NONE = "own", "-"
Test = Callable[..., Any]


@dataclass(frozen=True)
class Row:
    """What a test says of itself.

    subject: a strategy as an experiment names it, or a plug-in of Avalanche's; paper: its arXiv number, `OWN`, `NONE`
    where nothing is claimed, or empty for a plug-in; formula: what the test holds; differs: how ours is not the
    paper's, or not the plug-in's.
    """

    subject: str
    paper: str
    formula: str
    differs: str
    test: str
    module: str

    @property
    def strategy(self) -> str:
        """The strategy's name without its settings."""
        return self.subject.split("[")[0]


ROWS: list[Row] = []


def fidelity(subject: str, paper: str, formula: str, differs: str = "-") -> Callable[[Test], Test]:
    """Say that the decorated test holds `subject` to a formula of `paper`, whose equation `formula` names."""

    def note(test: Test) -> Test:
        ROWS.append(Row(subject, paper, formula, differs, test.__name__, test.__module__))
        return test

    return note


def avalanche(plugin: str, equal: str, differs: str = "-") -> Callable[[Test], Test]:
    """Say that the decorated test holds ours to a plug-in of Avalanche's: what is `equal`, and what is not."""
    return fidelity(plugin, "", equal, differs)


def rows() -> list[Row]:
    """Return what all tests of strategies say."""
    for path in (*sorted(TESTS.glob("test_fidelity_*.py")), TESTS / "test_against_avalanche.py"):
        importlib.import_module(path.stem)
    return list(ROWS)


def tables(found: Sequence[Row]) -> str:
    """Return both tables in Markdown: against papers, in the order of strategies, and against Avalanche."""
    papers = sorted((row for row in found if row.paper), key=lambda row: row.subject)
    lines = ["| strategy | paper | formula | what differs | test |", "|---|---|---|---|---|"]
    lines += [f"| `{row.subject}` | {_link(row)} | {row.formula} | {row.differs} | {_test(row)} |" for row in papers]
    lines += ["", "Against the plug-ins of Avalanche 0.6, on the same tensors:", ""]
    lines += ["| plug-in | equal | what differs | test |", "|---|---|---|---|"]
    plugins = [row for row in found if not row.paper]
    lines += [f"| `{row.subject}` | {row.formula} | {row.differs} | {_test(row)} |" for row in plugins]
    return "\n".join(lines) + "\n"


def _link(row: Row) -> str:
    return f"[{row.paper}](https://arxiv.org/abs/{row.paper})" if row.paper[0].isdigit() else row.paper


def _test(row: Row) -> str:
    return f"[`{row.test}`](../../tests/strategies/{row.module}.py)"


def page(text: str, found: Sequence[Row]) -> str:
    """Return the page `text` with the tables as they are now."""
    return rewritten(text, BEGIN, tables(found), END)
