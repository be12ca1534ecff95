"""Matrix, trade-offs and orders: what stands where."""

import itertools

import pytest
import synthetic
from matplotlib.text import Text
from synthetic import plausible

from cl_bench.errors import UserError
from cl_bench.report.figures.draw import figures
from cl_bench.report.figures.style import COLOURS, TEXT, mark, save
from cl_bench.results.rows import read_results
from cl_bench.results.summary import summary

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_results")]


def results_of(tmp_path, **options):
    return read_results(plausible(tmp_path, **options).write())


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


def drawn_texts(figure):
    """Every text that can be seen, with its box in pixels."""
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    axes = [ax for ax in figure.axes if not ax.axison]
    hidden = {id(text) for ax in axes for text in ax.findobj(Text)}
    outside = {id(text) for ax in figure.axes for text in ticks_outside(ax)}
    return [(text, text.get_window_extent()) for text in texts if id(text) not in hidden | outside]


def ticks_outside(ax):
    """The labels of ticks beyond an axis' ends, which are kept but not drawn."""
    for axis, (low, high) in ((ax.xaxis, sorted(ax.get_xlim())), (ax.yaxis, sorted(ax.get_ylim()))):
        for tick in axis.get_major_ticks():
            if not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


COMPOSED = ("naive", "kd+replay", "kd[weight=0.25]+replay[memory=10]+frozen_bn+slow_backbone", "kd", "x" * 40)
SHORT = ("seg", "det", "cls")
LONG = ("segmentation", "street_scenes_of_many_countries", "classification")


@pytest.fixture(scope="module", params=[SHORT, LONG], ids=["short", "long"])
def composed(request, tmp_path_factory):
    """Results of strategies with long names on tasks with short or long ones, which every figure is drawn of."""
    folder = tmp_path_factory.mktemp("composed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CL_BENCH_RESULTS", str(folder))
        for name, like in zip(request.param, SHORT, strict=True):
            for table in (synthetic.TASKS, synthetic.TOP, synthetic.TESTS):
                patch.setitem(table, name, table[like])
        experiment = plausible(folder, tasks=request.param, strategies=COMPOSED, joint=True)
        for key, scores in experiment.scores.items():
            experiment.classes[key] = {task: {"sofa": 0.4, "potted plant": 0.1 * len(scores)} for task in scores}
        experiment.test_classes = experiment.classes
        return read_results(experiment.add_tests().write())


@pytest.mark.parametrize("width", [3.0, 3.4, 7.2])
@pytest.mark.parametrize("what", ["curves", "matrix", "tradeoffs", "classes", "orders"])
def test_in_a_column_all_text_can_be_read(composed, monkeypatch, what, width):
    monkeypatch.setenv("CL_BENCH_RESULTS", str(composed.folder.parent))
    (figure,) = figures(composed, what, width).values()
    texts = drawn_texts(figure)
    assert figure.get_figwidth() == width
    assert len(texts) > 10
    assert min(text.get_fontsize() for text, _ in texts) >= TEXT >= 7, "points, printed at this width"
    edges = figure.bbox.padded(1)
    for text, box in texts:
        assert edges.contains(box.x0, box.y0), f"{text.get_text()!r} passes the left side or the bottom"
        assert edges.contains(box.x1, box.y1), f"{text.get_text()!r} passes the right side or the top"
    for (one, first), (other, second) in itertools.combinations(texts, 2):
        assert not first.padded(-1).overlaps(second.padded(-1)), f"{one.get_text()!r} on {other.get_text()!r}"


@pytest.mark.parametrize("width", [0, -3, 2.9, 41, float("nan")])
def test_a_width_that_no_page_has_is_refused(tmp_path, width):
    with pytest.raises(UserError, match="to 40 inches wide"):
        figures(results_of(tmp_path), "curves", width)


def test_cost_is_counted_operations_where_every_stage_counted_them(tmp_path):
    experiment = plausible(tmp_path)
    for place, cost in enumerate(experiment.costs.values()):
        cost["training_flops"] = 1e12 * (1 + place % 3)
    results = read_results(experiment.write())
    (figure,) = figures(results, "tradeoffs").values()
    table = summary(results).drop_duplicates("strategy")
    drawn = [line.get_xdata()[0] for line in figure.axes[1].lines]
    assert drawn == pytest.approx(table["relative_flops"].tolist())
    assert "FLOPs" in figure.axes[1].get_xlabel()


def test_no_two_of_many_strategies_look_alike():
    looks = {(look["color"], look["marker"]) for look in map(mark, range(40))}
    assert len(looks) == 40


def test_figures_name_the_part_and_show_its_drops(tmp_path):
    experiment = plausible(tmp_path, strategies=("naive", "kd"), seeds=(0,), epochs=2)
    plain = read_results(experiment.write())
    tested = read_results(experiment.add_tests(shift=-0.1).write())
    of_part = {" (test)": tested, " (val)": tested.chosen("val"), "": plain}
    for part, results in of_part.items():
        (matrix,) = figures(results, "matrix").values()
        assert f"% of its {part.strip(' ()')} baseline".replace("  ", " ") in matrix.get_supxlabel()
        (orders,) = figures(results, "orders").values()
        assert orders.axes[0].get_xlabel() == f"mean drop{part}, %"
        (tradeoffs,) = figures(results, "tradeoffs").values()
        assert tradeoffs.axes[1].get_ylabel() == f"mean drop{part}, %"
        drops = sorted({line.get_xdata()[0] for line in orders.axes[0].lines})
        assert drops == pytest.approx(sorted(100 * summary(results)["average_drop"].unique()))
    assert cells(next(iter(figures(tested, "matrix").values())).axes[0])[2, 0] == "0", "below val's by 10 points"
