"""Scores by class: kept with a stage, exported, and drawn against the baseline."""

import html
import math
import re

import matplotlib
import pytest
from synthetic import Experiment

from cl_bench.errors import UserError
from cl_bench.report.figures.classes import class_changes
from cl_bench.report.figures.style import save
from cl_bench.results import per_class
from cl_bench.results.export import export
from cl_bench.results.plan_file import read_plan
from cl_bench.results.rows import read_results

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_results")]


def by_hand(results):
    """Two seeds; naive loses .5 and .3 of sky, gains .1 of sea; a class called "nan" is nowhere to be seen."""
    experiment = Experiment(results, name="hand", tasks=("seg", "cls"), epochs=1)
    for seed, sky in enumerate((0.0, 0.2)):
        first = experiment.baseline("seg", seed, [0.5])
        last = experiment.baseline("cls", seed, [0.8])
        experiment.classes[first] = {"seg": {"sky": 0.5, "sea": 0.4, "nan": math.nan}}
        experiment.classes[last] = {"cls": {"cat": 0.8}}
        second = experiment.stage(f"naive-{seed}", ["cls"], first, {"seg": [0.3], "cls": [0.7]})
        experiment.classes[second] = {"seg": {"sky": sky, "sea": 0.5, "nan": math.nan}, "cls": {"cat": 0.7}}
        experiment.run("naive", ("seg", "cls"), seed, [first, second])
    return experiment


def test_a_mark_is_the_mean_change_of_a_class_over_seeds(tmp_path):
    (figure,) = class_changes(read_results(by_hand(tmp_path).write())).values()
    seg, cls = figure.axes
    assert [label.get_text() for label in seg.get_yticklabels()] == ["sea (0.40)", "sky (0.50)"]
    drawn = dict(zip(seg.lines[0].get_ydata(), seg.lines[0].get_xdata(), strict=True))
    assert drawn == pytest.approx({0: 10.0, 1: -40.0})
    assert cls.lines[0].get_xdata() == pytest.approx([-10.0])


NAMES = ("under_$5_to_$10", "_background_", "a|b", "<b>x&amp", "100%", "$\\frac$", r"\$1", "{x}^2_", "$")


def test_names_are_drawn_letter_by_letter(tmp_path):
    experiment = by_hand(tmp_path)
    for scores in experiment.classes.values():
        if "seg" in scores:
            scores["seg"] = {name: 0.5 + place / 100 for place, name in enumerate(NAMES)}
    (figure,) = class_changes(read_results(experiment.write())).values()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        _, svg, _ = save(figure, tmp_path, "names")
    drawn = [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg.read_text("utf-8"))]
    for place, name in enumerate(NAMES):
        assert f"{name} ({0.5 + place / 100:.2f})" in drawn


def test_classes_are_of_the_test_part_where_the_verdict_is(tmp_path):
    experiment = by_hand(tmp_path)
    experiment.test_classes["naive-1"] = {"seg": {"sky": 0.1, "sea": 0.4}}
    results = read_results(experiment.add_tests(shift=-0.1).write())
    (figure,) = class_changes(results).values()
    seg, _ = figure.axes
    assert [label.get_text() for label in seg.get_yticklabels()] == ["sky (0.40)", "sea (0.40)"]
    assert seg.lines[0].get_xdata() == pytest.approx([-25, -10]), "0.2 from 0.4, and 0.1 or 0.4 from it"
    assert seg.get_title() == "seg (test)"
    (of_val,) = class_changes(results.chosen("val")).values()
    assert [label.get_text() for label in of_val.axes[0].get_yticklabels()] == ["sea (0.40)", "sky (0.50)"]
    assert of_val.axes[0].get_title() == "seg (val)"


def test_scores_by_class_are_exported_and_come_back_without_the_store(tmp_path, monkeypatch):
    folder = by_hand(tmp_path).write()
    stages = ["first-seg-0", "naive-1"]
    before = per_class.load(folder, stages)
    export(folder)
    monkeypatch.setenv("CL_BENCH_STORE", str(tmp_path / "gone"))
    (tmp_path / "stages").rename(tmp_path / "elsewhere")
    after = per_class.load(folder, stages)
    assert after.equals(before)
    assert after["class"].tolist() == ["sky", "sea", "nan", "sky", "sea", "nan", "cat"]
    assert after["value"].isna().tolist() == [False, False, True, False, False, True, False]


def test_what_is_exported_is_of_the_store_where_that_has_it(tmp_path):
    folder = by_hand(tmp_path).write()
    (folder / per_class.FILE).write_text("stage,task,class,value\nnaive-1,cls,cat,0.1\nother,cls,cat,0.1\n")
    assert per_class.load(folder, ["naive-1"])["value"].tolist() == [0.1]
    export(folder)
    assert per_class.load(folder, ["naive-1"])["value"].iloc[-1] == 0.7
    assert per_class.load(folder, ["other"]).empty


def test_stages_that_kept_none_and_torn_tables_are_refused_in_a_sentence(tmp_path):
    experiment = by_hand(tmp_path)
    experiment.classes = {}
    folder = experiment.write()
    assert per_class.export(folder, read_plan(folder)) == []
    with pytest.raises(UserError, match="kept no scores by class"):
        class_changes(read_results(folder))
    for torn in ("stage,task\na,b\n", "stage,task,class,value\na,b,c,x\n"):
        (folder / per_class.FILE).write_text(torn)
        with pytest.raises(UserError, match="torn or not such a table"):
            per_class.load(folder, ["naive-1"])
