"""Forgetting curves show the scores that were measured, where they were measured."""

from itertools import pairwise

import numpy as np
import pytest
from synthetic import plausible

from cl_bench.report.figures.curves import forgetting_curves
from cl_bench.report.figures.style import save
from cl_bench.results.rows import read_results

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_results")]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def lines(ax):
    """The strategies' lines, which alone have marks."""
    return [line for line in ax.lines if line.get_marker() != "None"]


def test_one_panel_a_task_and_one_line_a_strategy(tmp_path):
    results = read_results(plausible(tmp_path, joint=True).write())
    (order, figure), *others = forgetting_curves(results).items()
    assert (order, others) == ("seg>det>cls", [])
    assert [ax.get_ylabel() for ax in figure.axes] == ["seg (mIoU)", "det (AP50)", "cls (Top-1)"]
    assert [len(lines(ax)) for ax in figure.axes] == [5, 5, 5]
    assert legend(figure)[:5] == ["naive", "kd", "replay", "kd+replay", "joint (all tasks at once)"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["training seg", "training det", "training cls"]


def test_a_line_is_the_mean_over_seeds_along_the_stream(tmp_path):
    results = read_results(plausible(tmp_path).write())
    figure = forgetting_curves(results)["seg>det>cls"]
    naive, det = lines(figure.axes[0])[0], lines(figure.axes[1])[0]
    assert naive.get_xdata().tolist() == list(range(1, 16))
    assert det.get_xdata().tolist() == list(range(6, 16))
    rows = results.rows
    mine = rows[(rows["strategy"] == "naive") & (rows["metric"] == "mIoU") & rows["last"]]
    expected = [mine[mine["position"] == position]["value"].mean() for position in range(3)]
    assert naive.get_ydata()[[4, 9, 14]] == pytest.approx(expected)


def test_baseline_and_its_band(tmp_path):
    results = read_results(plausible(tmp_path).write())
    ax = forgetting_curves(results)["seg>det>cls"].axes[0]
    rows = results.rows
    single = rows[(rows["strategy"] == "baseline") & (rows["metric"] == "mIoU") & rows["last"]]
    level = single["value"].mean()
    assert [line.get_ydata()[0] for line in ax.lines if len(set(line.get_ydata())) == 1] == [pytest.approx(level)]
    bands = [(patch.get_y(), patch.get_y() + patch.get_height()) for patch in ax.patches]
    assert pytest.approx((0.95 * level, level)) in bands


def test_stage_borders(tmp_path):
    figure = forgetting_curves(read_results(plausible(tmp_path).write()))["seg>det>cls"]
    for ax in figure.axes:
        assert [
            line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":" and len(line.get_xdata()) == 2
        ] == [5, 10]
        assert ax.get_xlim() == (0, 15)


def test_joint_is_dashed_and_stretched_over_the_stream(tmp_path):
    figure = forgetting_curves(read_results(plausible(tmp_path, joint=True).write()))["seg>det>cls"]
    for ax in figure.axes:
        joint = lines(ax)[-1]
        assert joint.get_xdata().tolist() == [3, 6, 9, 12, 15]
        assert joint.is_dashed()
        assert joint.get_linestyle() == "--"


def test_lines_differ_without_colour_and_shared_ones_show(tmp_path):
    figure = forgetting_curves(read_results(plausible(tmp_path).write()))["seg>det>cls"]
    drawn = lines(figure.axes[0])
    assert len({line.get_marker() for line in drawn}) == len({line.get_color() for line in drawn}) == 4
    first_stage = np.array([line.get_ydata()[:5] for line in drawn])
    assert (first_stage == first_stage[0]).all()
    by_depth = sorted(drawn, key=lambda line: line.get_zorder())
    widths = [line.get_linewidth() for line in by_depth]
    marks = [line.get_markersize() for line in by_depth]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == 4
    assert marks == sorted(marks, reverse=True)
    assert len(set(marks)) == 4


def test_seeds_have_a_band_and_one_seed_has_none(tmp_path):
    several = forgetting_curves(read_results(plausible(tmp_path / "a").write()))["seg>det>cls"]
    single = forgetting_curves(read_results(plausible(tmp_path / "b", seeds=(0,)).write()))["seg>det>cls"]
    assert "lowest to highest seed" in legend(several)
    assert "lowest to highest seed" not in legend(single)


def test_one_task(tmp_path):
    figure = forgetting_curves(read_results(plausible(tmp_path, tasks=("det",)).write()))["det"]
    assert len(figure.axes) == 1
    assert len(lines(figure.axes[0])) == 4


def test_a_figure_an_order(tmp_path):
    orders = (("seg", "det"), ("det", "seg"))
    figures = forgetting_curves(read_results(plausible(tmp_path, tasks=("seg", "det"), orders=orders).write()))
    assert list(figures) == ["seg>det", "det>seg"]
    assert figures["det>seg"].axes[0].get_ylabel() == "det (AP50)"


def test_unfinished_strategies_say_so_and_are_drawn_as_far_as_they_came(tmp_path):
    experiment = plausible(tmp_path, strategies=("naive", "kd"))
    lost = [key for key in experiment.stages if key.startswith("kd-seg-det-cls")] + ["first-cls-0", "first-cls-1"]
    folder = experiment.write(failed=[*lost, "first-cls-2"])
    figure = forgetting_curves(read_results(folder))["seg>det>cls"]
    assert legend(figure)[:2] == ["naive", "kd (unfinished)"]
    assert lines(figure.axes[0])[1].get_xdata().max() == 10
    assert [path.stat().st_size > 0 for path in save(figure, tmp_path, "curve")] == [True] * 3


@pytest.mark.filterwarnings("error")
def test_panels_are_alike_where_a_strategy_has_no_score_of_a_task_yet(tmp_path):
    experiment = plausible(tmp_path, seeds=(0,), strategies=("naive", "kd"))
    experiment.add_tests()
    lost = [key for key in experiment.stages if "cls" in key or key.startswith("kd")]
    figure = forgetting_curves(read_results(experiment.write(failed=lost)))["seg>det>cls"]
    save(figure, tmp_path, "curve")
    assert len({round(ax.get_position().height, 3) for ax in figure.axes}) == 1
    gaps = [upper.get_position().y0 - lower.get_position().y1 for upper, lower in pairwise(figure.axes)]
    assert max(gaps) < 0.05


def test_saved_files_are_pictures_and_equal_figures_give_equal_bytes(tmp_path):
    results = read_results(plausible(tmp_path, seeds=(0,), strategies=("naive",)).write())
    folders = [tmp_path / name for name in ("one", "two")]
    written = []
    for folder in folders:
        written.append(save(forgetting_curves(results)["seg>det>cls"], folder, "curves"))
    png, svg, _ = written[0]
    assert (png.name, svg.name) == ("curves.png", "curves.svg")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in svg.read_bytes()
    assert [path.read_bytes() for path in written[0]] == [path.read_bytes() for path in written[1]]
    assert sorted(path.name for path in folders[0].iterdir()) == ["curves.pdf", "curves.png", "curves.svg"]


def diamonds(ax):
    """Where the scores on the test part stand: colour -> (steps, scores)."""
    drawn = [line for line in ax.lines if line.get_marker() == "D" and line.get_markerfacecolor() == "none"]
    return {line.get_color(): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in drawn}


def test_scores_on_the_test_part_are_marks_at_the_ends_of_stages(tmp_path):
    experiment = plausible(tmp_path, strategies=("naive", "kd"), seeds=(0, 1), joint=True)
    plain = forgetting_curves(read_results(experiment.write()))["seg>det>cls"]
    results = read_results(experiment.add_tests(shift=-0.1).write())
    figure = forgetting_curves(results)["seg>det>cls"]
    rows = results.rows
    ends = rows[(rows["split"] == "test") & (rows["metric"] == "mIoU") & (rows["strategy"] == "kd")]
    naive, kd, joint = diamonds(figure.axes[0]).values()
    assert kd[0] == naive[0] == [5, 10, 15]
    assert kd[1] == pytest.approx(ends.groupby("step")["value"].mean().tolist())
    assert joint[0] == [15], "stretched as its line is"
    level = rows[(rows["strategy"] == "baseline") & rows["last"] & (rows["metric"] == "mIoU")]
    expected = level.groupby("split")["value"].mean()
    flat = [line for line in figure.axes[0].lines if line.get_marker() == "None" and len(set(line.get_ydata())) == 1]
    levels = [(line.get_ydata()[0], line.is_dashed()) for line in flat]
    assert levels == [(pytest.approx(expected["val"]), False), (pytest.approx(expected["test"]), True)]
    assert legend(figure)[-2:] == ["baseline, test", "test, at the ends of stages"]
    for ax, before in zip(figure.axes, plain.axes, strict=True):
        curves = [line for line in lines(ax) if line.get_markerfacecolor() != "none"]
        assert [line.get_ydata().tolist() for line in curves] == [line.get_ydata().tolist() for line in lines(before)]


def test_of_val_alone_there_are_no_marks(tmp_path):
    experiment = plausible(tmp_path, strategies=("naive",), seeds=(0,))
    plain = forgetting_curves(read_results(experiment.write()))["seg>det>cls"]
    results = read_results(experiment.add_tests().write())
    figure = forgetting_curves(results.chosen("val"))["seg>det>cls"]
    assert legend(figure) == legend(plain)
    assert [len(ax.lines) for ax in figure.axes] == [len(ax.lines) for ax in plain.axes]


def test_what_is_not_scored_has_no_mark(tmp_path):
    experiment = plausible(tmp_path, strategies=("naive", "kd"), seeds=(0,))
    last = [run["stages"][-1] for run in experiment.plan["runs"] if run["strategy"] == "kd"]
    figure = forgetting_curves(read_results(experiment.add_tests(unscored=last).write()))["seg>det>cls"]
    assert [steps for steps, _ in diamonds(figure.axes[0]).values()] == [[5, 10, 15], [5, 10]]
    assert "kd" in legend(figure), "it is trained to its end"
