"""The tables in results/ are what the command prints of the rows beside them, byte for byte."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cl_bench.cli.app import app

pytestmark = pytest.mark.slow

FOLDERS = sorted(path.parent for path in (Path(__file__).parents[2] / "results").glob("*/table.md"))


def test_every_committed_plan_but_those_of_nothing_has_its_tables():
    plans = sorted(path.parent for path in (Path(__file__).parents[2] / "results").glob("*/plan.json"))
    assert [folder for folder in plans if (folder / "rows.csv").exists()] == FOLDERS
    assert len(FOLDERS) >= 15


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize(("format", "name"), [("markdown", "table.md"), ("csv", "table.csv")])
def test_a_committed_table_is_made_of_its_rows_again_byte_for_byte(folder, format, name, monkeypatch, tmp_path):
    monkeypatch.setenv("CL_BENCH_STORE", str(tmp_path))
    said = CliRunner().invoke(app, ["table", str(folder), "-f", format, "--notes"])
    assert said.exit_code == 0, said.output
    assert said.stdout_bytes == (folder / name).read_bytes()
