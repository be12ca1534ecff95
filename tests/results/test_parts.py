"""Which part of the data results are told of: test where all tasks have one, another on request, and always named."""

from __future__ import annotations

import io
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import message
from synthetic import Experiment, plausible

from cl_bench import cli
from cl_bench.report.tables import baselines, differences, over_orders, sweep, versions
from cl_bench.report.tables.drops import render
from cl_bench.results import comparison
from cl_bench.results.export import export
from cl_bench.results.rows import Results, read_results
from cl_bench.results.summary import baselines as baseline_table
from cl_bench.results.summary import summary

pytestmark = pytest.mark.usefixtures("own_results")


def small(tmp_path: Path, **options: Any) -> Experiment:
    return plausible(tmp_path, **{"strategies": ("naive", "kd"), "seeds": (0, 1), "epochs": 2, **options})


def markdown(results: Results) -> str:
    return render(summary(results), results, "markdown")


def test_a_table_is_of_the_test_part_and_of_val_on_request(tmp_path: Path) -> None:
    results = read_results(small(tmp_path).add_tests(shift=-0.1).write())
    test, val = (summary(results.chosen(split)).set_index(["strategy", "task"]) for split in ("", "val"))
    assert (test["baseline"] - val["baseline"]).tolist() == pytest.approx([-0.1] * 6)
    assert test.equals(summary(results.chosen("test")).set_index(["strategy", "task"]))
    told, told_of_val = markdown(results), markdown(results.chosen("val"))
    assert told.startswith("**quickstart: seg>det>cls (test)**")
    assert "- Verdicts are of the test part: seg 600, det 430 and cls 300 images." in told
    assert "240/60/430 images, 2 epochs at 128 px, trivial 0.020." in told
    assert told_of_val.startswith("**quickstart: seg>det>cls (val)**")
    assert "- Verdicts are of the validation images." in told_of_val
    assert "240/60/430 images, 2 epochs at 128 px, trivial 0.010." in told_of_val


def test_without_a_test_part_the_table_says_so_and_has_no_part_in_its_title(tmp_path: Path) -> None:
    told = markdown(read_results(small(tmp_path).write()))
    assert told.startswith("**quickstart: seg>det>cls**")
    assert "- Verdicts are of the validation images: nothing here is scored on a test part." in told
    some = markdown(read_results(small(tmp_path).add_tests(["seg", "cls"]).write()))
    assert "- Verdicts are of the validation images: det has no test part." in some
    assert "not scored" not in some


def test_the_choice_on_dev_is_told_as_such(tmp_path: Path) -> None:
    experiment = small(tmp_path)
    experiment.plan["settings"]["split"] = "dev"
    told = markdown(read_results(experiment.write()))
    assert "- Scored on dev, a quarter of train that was split off; val was not looked at." in told
    assert "test part" not in told


def test_stages_that_are_not_scored_are_counted_and_have_no_verdict(tmp_path: Path) -> None:
    experiment = small(tmp_path)
    last = [run["stages"][-1] for run in experiment.plan["runs"] if run["strategy"] == "kd"]
    results = read_results(experiment.add_tests(unscored=last).write())
    told = markdown(results)
    assert "- 2 stages are not scored on the test part: cl-bench rescore quickstart, or run." in told
    assert summary(results).groupby("strategy")["status"].unique().map(list).to_dict() == {
        "naive": ["done"],
        "kd": ["unscored"],
    }
    assert "not scored" in markdown(results.chosen("val"))


def test_where_nothing_is_scored_yet_verdicts_are_of_val(tmp_path: Path) -> None:
    experiment = small(tmp_path)
    results = read_results(experiment.add_tests(unscored=experiment.stages).write())
    told = markdown(results)
    assert told.startswith("**quickstart: seg>det>cls (val)**")
    assert "Verdicts are of the validation images." in told
    assert f"{len(experiment.stages)} stages are not scored on the test part" in told
    said = message(results.chosen, "test")
    assert said == "no stage of quickstart is scored on its test part yet: cl-bench rescore quickstart, or run"


def test_a_part_that_there_is_not_is_refused(tmp_path: Path) -> None:
    results = read_results(small(tmp_path).write())
    assert "quickstart has no test part" in message(results.chosen, "test")
    tested = read_results(small(tmp_path).add_tests().write())
    assert "unknown part that was scored 'tets'; did you mean 'test'?" in message(tested.chosen, "tets")


def test_few_boxes_and_what_few_images_flatter_are_told_of_the_test_part(tmp_path: Path) -> None:
    experiment = small(tmp_path).add_tests()
    experiment.excess = {"det": 0.0126}
    results = read_results(experiment.write())
    told = markdown(results)
    assert "- det: AP50 hangs on few true boxes: dog 23, cat 34." in told
    assert "- det: the baseline's AP50 on 430 images is expected to lie 0.013 above that on many." in told
    assert "seg: mIoU hangs" not in told
    assert "hangs" not in markdown(results.chosen("val"))
    assert "expected excess" not in told


def test_every_csv_has_a_column_with_the_part(tmp_path: Path) -> None:
    folder = small(tmp_path, orders=[("seg", "cls"), ("cls", "seg")], tasks=("seg", "cls")).add_tests().write()
    results = read_results(folder)
    for split in ("test", "val"):
        chosen = results.chosen(split)
        texts = {
            "table": render(summary(chosen), chosen, "csv"),
            "baselines": baselines.render(baseline_table(chosen), chosen, "csv"),
            "against": differences.render(comparison.differences(chosen), chosen, "naive", "csv"),
            "orders": over_orders.render(comparison.over_orders(chosen), chosen, "csv"),
            "versions": versions.render(comparison.versions(chosen, chosen), chosen, chosen, "csv"),
        }
        told = {name: pd.read_csv(io.StringIO(text)) for name, text in texts.items()}
        assert {name: set(table["split"]) for name, table in told.items()} == {name: {split} for name in told}
        sizes = told["table"].groupby("task")["test_images"].unique().map(list).to_dict()
        assert sizes == {"seg": [600], "cls": [300]}


def test_every_title_and_note_names_the_part(tmp_path: Path) -> None:
    folder = small(tmp_path, orders=[("seg", "cls"), ("cls", "seg")], tasks=("seg", "cls")).add_tests().write()
    results = read_results(folder)
    assert "quickstart: single-task baselines (test)" in baselines.render(baseline_table(results), results, "markdown")
    against = differences.render(comparison.differences(results), results, "naive", "markdown")
    assert "quickstart: seg>cls, against naive (test)" in against
    assert "- Drops are of the test part: seg 600 and cls 300 images." in against
    told = over_orders.render(comparison.over_orders(results), results, "markdown")
    assert "2 orders, differences from naive (test)" in told
    of_val = {"a": results.of("val"), "b": results.of("val")}
    told = sweep.render(of_val, "markdown")
    assert told.startswith("**sweep (val)**")
    assert "the test part is for the chosen ones" in told


def test_versions_are_compared_on_one_part(tmp_path: Path) -> None:
    tested = read_results(small(tmp_path / "a").add_tests(shift=-0.1).write())
    plain = read_results(small(tmp_path / "b").write())

    def compared(first: Results, second: Results, split: str = "") -> tuple[list[str], str, float]:
        sides = comparison.of_one_part(first, second, split)
        frame = comparison.versions(*sides)
        return [side.split for side in sides], versions.render(frame, *sides, "markdown"), frame["change"].abs().max()

    splits, told, change = compared(tested, tested)
    assert (splits, change) == (["test", "test"], 0)
    assert "- Both are of the test part." in told
    for first, second, side in ((tested, plain, "B"), (plain, tested, "A")):
        splits, told, change = compared(first, second)
        assert (splits, change) == (["val", "val"], 0), "test scores are 10 points lower"
        assert f"- Both are of the validation images: {side} has no test part." in told
    assert compared(tested, tested, "val")[0] == ["val", "val"]
    assert "has no test part" in message(comparison.of_one_part, tested, plain, "test")


def test_versions_on_other_test_images_say_so(tmp_path: Path) -> None:
    one = read_results(small(tmp_path / "a").add_tests().write())
    experiment = small(tmp_path / "b").add_tests()
    for task in experiment.plan["tasks"]:
        task["test"] = {**task["test"], "id": f"other-{task['name']}"}
    other = read_results(experiment.write())
    frame = comparison.versions(one, other)
    assert "- Differs in seg.test: seg-test -> other-seg." in versions.render(frame, one, other, "markdown")


def test_a_clone_without_the_store_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = small(tmp_path).add_tests()
    experiment.excess = {"det": 0.0126}
    folder = experiment.write()
    before = markdown(read_results(folder))
    export(folder)
    (tmp_path / "stages").rename(tmp_path / "elsewhere")
    assert markdown(read_results(folder)) == before


@pytest.mark.parametrize(
    "words",
    [
        ("table", "quickstart"),
        ("table", "quickstart", "--baselines"),
        ("table", "quickstart", "--against", "naive"),
        ("compare", "quickstart", "quickstart"),
    ],
)
def test_the_command_line_tells_of_either_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    small(tmp_path).add_tests().write()

    def call(*further: str) -> str:
        monkeypatch.setattr(sys, "argv", ["cl-bench", *words, *further])
        with suppress(SystemExit):
            cli.main()
        return "".join(capsys.readouterr())

    assert re.search("of the test part|test part, ", call())
    assert call() == call("--split", "test")
    assert re.search("of the validation images|validation part, ", call("--split", "val"))
    assert "error: unknown part that was scored 'vall'; did you mean 'val'?" in call("--split", "vall")
    call("--split", "val", "-f", "parquet", "-o", str(tmp_path / "table.parquet"))
    assert set(pd.read_parquet(tmp_path / "table.parquet")["split"]) == {"val"}
