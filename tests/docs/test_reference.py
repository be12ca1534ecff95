"""The reference is what the code says: pages that are built from it are not stale."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from cl_bench.config.schema import Experiment, Protocol, TaskConfig
from cl_bench.plugins.registry import strategies
from tools.reference import FOLDER, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_gives(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name](), "make reference writes it anew"


def test_every_key_stands_in_the_reference_and_says_what_it_means() -> None:
    page = (FOLDER / "experiment.md").read_text(encoding="utf-8")
    for key in {**Experiment.model_fields, **Protocol.model_fields, **TaskConfig.model_fields}:
        line = next(line for line in page.splitlines() if line.startswith(f"| `{key}` |"))
        assert line.rstrip(" |").rpartition("| ")[2]


def test_known_lines() -> None:
    experiment = (FOLDER / "experiment.md").read_text(encoding="utf-8")
    assert "| `epochs` | a whole number (from 1) | `5` |" in experiment
    commands = (FOLDER / "cli.md").read_text(encoding="utf-8")
    assert "## `cl-bench data audit`" in commands
    assert "| `--set` | KEY=VALUE |" in commands
    assert "| `-j`, `--jobs` | whole number | `1` |" in commands
    assert "| `EXPERIMENT` | text | needed |" in commands
    settings = (FOLDER / "strategies.md").read_text(encoding="utf-8").partition("## `kd`\n")[2].partition("\n## ")[0]
    assert "| `temperature` | number, > 0 | `2.0` |" in settings
    assert "| `direction` | `teacher_student`, `student_teacher` | `teacher_student` |" in settings
    assert "| `CL_BENCH_STORE` |" in (FOLDER / "environment.md").read_text(encoding="utf-8")


def test_every_strategy_of_this_package_has_a_section() -> None:
    page = (FOLDER / "strategies.md").read_text(encoding="utf-8")
    own = [name for name in strategies if strategies.get(name).build.__module__.startswith("cl_bench.strategies.")]
    assert len(own) > 25
    assert [name for name in own if f"\n## `{name}`\n" not in page] == []
