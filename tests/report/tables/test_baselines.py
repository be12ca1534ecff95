"""The table of single-task baselines in every format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic import plausible

from cl_bench.errors import UserError
from cl_bench.report.tables.baselines import render
from cl_bench.results.rows import read_results
from cl_bench.results.summary import baselines
from cl_bench.runner.prepare import prepare
from cl_bench.runner.run import train


def test_markdown_says_score_deviation_interval_and_protocol(tmp_path: Path) -> None:
    found = read_results(plausible(tmp_path, seeds=(0, 1, 2)).write())
    table = baselines(found)
    text = render(table, found, "markdown")
    row = table.iloc[0]
    assert f"| seg | mIoU | {row['score']:.3f} ± {row['deviation']:.3f} | [{row['low']:.3f}, {row['high']:.3f}]" in text
    assert "quickstart: seeds 0, 1, 2" in text
    assert "single-task baselines" in text
    assert text.count("| AP50 |") == text.count("|  | AP |") == 1


def test_one_seed_has_no_interval_and_csv_has_every_number(tmp_path: Path) -> None:
    found = read_results(plausible(tmp_path, seeds=(0,)).write())
    table = baselines(found)
    assert "±" not in render(table, found, "terminal").split("Score:")[0]
    assert render(table, found, "csv").splitlines()[0].startswith("task,metric,headline,score,deviation")
    assert r"\begin{tabular}" in render(table, found, "latex")
    with pytest.raises(UserError, match="unknown table format 'htmx'"):
        render(table, found, "htmx")
    assert "<td>mIoU</td>" in render(table, found, "html")


def test_an_experiment_without_strategies_trains_baselines_only(tiny: Callable[..., str], results: Path) -> None:
    prepared = prepare(tiny(strategies=[], orders=[["cls"], ["seg"]], epochs=1))
    assert len(prepared.plan.stages) == 2
    train(prepared)
    table = baselines(read_results("tiny"))
    assert table["task"].unique().tolist() == ["seg", "cls"]
    assert table["seeds"].tolist() == [1, 1, 1]
