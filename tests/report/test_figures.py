"""Matrix, trade-offs and orders: what stands where."""

import pytest
from synthetic import plausible

from cl_bench.report.figures import figures
from cl_bench.report.style import COLOURS, save
from cl_bench.results import load_results
from cl_bench.summaries import summary


@pytest.fixture(autouse=True)
def _own_results(tmp_path, monkeypatch):
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path))
    monkeypatch.delenv("CL_BENCH_STORE", raising=False)


def results_of(tmp_path, **options):
    return load_results(plausible(tmp_path, **options).write())


def cells(ax):
    return {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in ax.texts}


def test_a_cell_is_the_score_in_percent_of_the_baseline(tmp_path):
    results = results_of(tmp_path, joint=True)
    (figure,) = figures(results, "matrix").values()
    panels = {ax.get_title(): ax for ax in figure.axes if ax.get_title()}
    table = summary(results)
    for strategy in ("naive", "kd+replay"):
        mine = table[table["strategy"] == strategy].set_index("task")
        shown = cells(panels[strategy])
        assert set(shown) == {(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)}
        assert shown[0, 0] == "100"
        for column, task in enumerate(("seg", "det", "cls")):
            assert shown[2, column] == str(int(100 * (1 - mine.loc[task, "drop"]) + 1e-7)), "never up to a frame's 95"
    assert set(cells(panels["joint"])) == {(2, 0), (2, 1), (2, 2)}
    assert len(panels["naive"].patches) < len(panels["kd+replay"].patches), "frames what is within the limit"


def test_tradeoffs_have_a_mark_a_strategy_where_its_values_are(tmp_path):
    results = results_of(tmp_path)
    (figure,) = figures(results, "tradeoffs").values()
    table = summary(results).drop_duplicates("strategy").set_index("strategy")
    _, cost, memory = figure.axes[:3]
    for ax, field in ((cost, "relative_cost"), (memory, "stored_images")):
        shown = {line.get_color(): (line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines}
        for place, strategy in enumerate(table.index):
            expected = (table.loc[strategy, field], 100 * table.loc[strategy, "average_drop"])
            assert shown[COLOURS[place]] == pytest.approx(expected)


def test_every_order_has_a_mark_in_every_strategys_line(tmp_path):
    orders = [("seg", "det", "cls"), ("cls", "det", "seg")]
    results = results_of(tmp_path, orders=orders, strategies=("naive", "kd"))
    figure = figures(results, "orders")["orders"]
    (ax,) = figure.axes
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["naive", "kd"]
    table = summary(results).drop_duplicates(["strategy", "order"])
    expected = sorted(100 * table["average_drop"])
    marks = [line.get_xdata()[0] for line in ax.lines if line.get_marker() != "|"]
    assert sorted(marks) == pytest.approx(expected)


def test_several_orders_have_a_figure_each(tmp_path):
    orders = [("seg", "det", "cls"), ("cls", "det", "seg")]
    results = results_of(tmp_path, orders=orders, strategies=("naive", "kd"))
    for what in ("curves", "matrix", "tradeoffs"):
        assert set(figures(results, what)) == {f"{what}-seg-det-cls", f"{what}-cls-det-seg"}


@pytest.mark.parametrize("what", ["curves", "matrix", "tradeoffs", "orders"])
def test_equal_figures_give_equal_bytes(tmp_path, what):
    results = results_of(tmp_path)
    first, second = (
        {path.name: path.read_bytes() for path in save(figures(results, what)[what], tmp_path / name, what)}
        for name in ("a", "b")
    )
    assert first == second
    assert set(first) == {f"{what}.png", f"{what}.svg", f"{what}.pdf"}
