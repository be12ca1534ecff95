"""Learning curves of baselines: a panel a metric, a line a task, its values those of the rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import plausible

from cl_bench.report.figures.learning import learning_curves
from cl_bench.results.rows import BASELINE, read_results


def test_a_panel_a_metric_and_the_mean_over_seeds(tmp_path: Path) -> None:
    results = read_results(plausible(tmp_path, seeds=(0, 1, 2)).write())
    panels = learning_curves(results).axes
    assert [ax.get_ylabel() for ax in panels] == ["mIoU", "AP50", "Top-1"]
    rows = results.rows
    rows = rows[(rows["strategy"] == BASELINE) & (rows["task"] == "det") & (rows["metric"] == "AP50")]
    (line,) = panels[1].get_lines()
    assert line.get_label() == "det"
    assert line.get_xdata().tolist() == sorted(rows["epoch"].unique())
    assert line.get_ydata().tolist() == pytest.approx(rows.groupby("epoch")["value"].mean().tolist())


def test_scores_on_the_test_part_are_marks_at_the_ends(tmp_path: Path) -> None:
    results = read_results(plausible(tmp_path, strategies=(), seeds=(0, 1)).add_tests(shift=-0.1).write())
    figure = learning_curves(results)
    line, test = figure.axes[0].get_lines()
    assert test.get_xdata().tolist() == [5]
    assert test.get_ydata()[0] == pytest.approx(line.get_ydata()[-1] - 0.1)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["seg", "det", "cls", "test, at the end"]
