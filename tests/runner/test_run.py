"""Strategies and seeds come beside results whose stages are gone, and the table is as if all had been run at once."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import message

from cl_bench.plugins.registry import strategies
from cl_bench.report.tables.drops import render
from cl_bench.results.plan_file import read_plan
from cl_bench.results.rows import load_results, read_results
from cl_bench.results.stages import exported_stages
from cl_bench.results.summary import summary
from cl_bench.runner.prepare import Prepared, prepare
from cl_bench.runner.run import train


def rows(folder: Path) -> pd.DataFrame:
    columns = ["strategy", "seed", "stage", "epoch", "task", "metric", "value"]
    return load_results(folder)[columns].sort_values(columns[:-1]).reset_index(drop=True)


@pytest.fixture
def published(tiny: Callable[..., str], results: Path, with_stages: Callable[[Prepared], Prepared]) -> Path:
    """Results as a clone has them: rows beside the plan, and no store."""
    prepared = with_stages(prepare(tiny(), strategies=["naive"], seeds=[0]))
    shutil.rmtree(prepared.store.root)
    return prepared.folder


def test_only_what_a_new_strategy_starts_from_is_trained_again(
    tiny: Callable[..., str], published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(tiny(), strategies=["kd"], add=True)
    assert [run.strategy for run in prepared.plan.runs] == ["naive", "kd"]
    assert [(stage.past, stage.trained) for stage in prepared.missing()] == [
        ((), ("seg",)),
        (("seg",), ("det",)),
        (("seg", "det"), ("cls",)),
    ]
    assert train(prepared) == {}
    assert prepare(tiny(), add=True).missing() == []
    assert len(prepare(tiny(), strategies=["naive", "kd"]).missing()) == 4, "without add, all rows have stages"
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / "at_once"))
    train(together := prepare(tiny(), strategies=["naive", "kd"], seeds=[0]))
    pd.testing.assert_frame_equal(rows(published), rows(together.folder))


def test_a_strategy_in_another_spelling_is_the_one_that_is_there(tiny: Callable[..., str], published: Path) -> None:
    train(prepare(tiny(), strategies=["kd[weight=1]"], add=True))
    prepared = prepare(tiny(), strategies=["kd[weight=1.0]"], seeds=[1], add=True)
    assert [run.strategy for run in prepared.plan.runs if run.seed == 1] == ["naive", "kd[weight=1]"]


def test_what_was_published_keeps_its_costs_and_where_it_is_from(tiny: Callable[..., str], published: Path) -> None:
    costs = pd.read_csv(published / "stages.csv").assign(train_seconds=1234.5, processor="another")
    costs.to_csv(published / "stages.csv", index=False)
    plan = json.loads((published / "plan.json").read_text())
    plan["provenance"] |= {"commit": "abc", "machine": "another, 4 cores"}
    (published / "plan.json").write_text(json.dumps(plan))
    train(prepare(tiny(), strategies=["kd"], add=True))
    train(prepare(tiny(), strategies=["replay"], add=True))  # whose first stage is in the store by now
    after = pd.read_csv(published / "stages.csv").set_index("stage").loc[costs["stage"]]
    assert list(after["train_seconds"]) == list(costs["train_seconds"])
    assert read_plan(published).provenance["added_to"] == "abc, another, 4 cores"
    found = summary(read_results(published)).set_index("strategy")
    assert found.loc["naive", "mixed_environment"].tolist() == [False] * 3
    assert found.loc["naive", "relative_cost"].tolist() == [1.0] * 3
    assert found.loc["kd", "relative_cost"].isna().all(), "as another machine trained it than naive"
    shown = render(summary(read_results(published)), read_results(published), "markdown")
    assert "added to what was made with abc, another, 4 cores" in shown
    told = pd.read_csv(io.StringIO(render(summary(read_results(published)), read_results(published), "csv")))
    assert set(told["added_to"]) == {"abc, another, 4 cores"}


def test_an_edited_strategy_takes_the_place_of_its_rows_and_is_needed_by_name(
    tiny: Callable[..., str], published: Path, tmp_path: Path
) -> None:
    code = "from cl_bench import strategy\nfrom cl_bench.strategies.l2_sp import QuadraticPenalty\n"
    code += "@strategy('ours')\ndef ours():\n    return [QuadraticPenalty({})]\n"
    file = tmp_path / "ours.py"
    stages = []
    try:
        for weight in (0.1, 0.2):
            file.write_text(code.format(weight))
            prepared = prepare(tiny(), strategies=["ours"], plugin_files=[file], add=True)
            assert train(prepared) == {}
            stages.append(prepared.plan.runs[1].stages)
        assert stages[0][0] == stages[1][0]
        assert stages[0][1] != stages[1][1]
        assert not set(stages[0][1:]) & exported_stages(published)
        made = read_plan(published).provenance
        train(prepare(tiny(), plugin_files=[file], add=True), command="nothing new")
        assert read_plan(published).provenance == made
    finally:
        strategies.entries.pop("ours", None)
    found = message(prepare, tiny(), strategies=["kd"], add=True)
    assert "plan.json has strategy ours, whose --plugin is needed: unknown strategy 'ours'" in found


def test_a_stage_that_scores_otherwise_than_before_is_told(tiny: Callable[..., str], published: Path) -> None:
    told: list[tuple[str, object]] = []
    prepared = prepare(tiny(), strategies=["kd"], add=True)
    first = prepared.missing()[0].key
    lines = (published / "rows.csv").read_text().splitlines()
    edited = [line.rpartition(",")[0] + ",0.5" if line.startswith(first) else line for line in lines]
    (published / "rows.csv").write_text("\n".join(edited) + "\n")
    train(prepared, report=lambda key, state: told.append((key, state)))
    assert [key for key, state in told if state == "differs"] == [first]


def test_seeds_are_added_to_every_strategy(tiny: Callable[..., str], published: Path) -> None:
    prepared = prepare(tiny(), seeds=[1], add=True)
    assert [(run.strategy, run.seed) for run in prepared.plan.runs] == [("naive", 0), ("naive", 1)]
    assert {stage.seed for stage in prepared.missing()} == {1}


def test_rows_of_other_settings_are_not_lost(tiny: Callable[..., str], published: Path) -> None:
    epochs = prepare(tiny()).experiment.epochs
    found = message(prepare, tiny(), changes=["epochs=1"], add=True)
    assert f"made with other settings (epochs: {epochs} -> 1): name these otherwise" in found
    found = message(prepare, tiny(), changes=["tasks.det.settings.largest=4"], add=True)
    assert "made with other settings (tasks.det.settings.largest: none -> 4): name these otherwise" in found
    plan = json.loads((published / "plan.json").read_text())
    del plan["settings"]["evaluate_steps"]  # as an earlier version wrote it
    (published / "plan.json").write_text(json.dumps(plan))
    rows = (published / "rows.csv").read_text()
    (published / "rows.csv").write_text(rows.replace(plan["runs"][0]["stages"][-1], "0" * 64))
    assert "made with another version, other libraries or data" in message(prepare, tiny(), add=True)


def test_a_run_makes_a_damaged_table_anew(tiny: Callable[..., str], published: Path) -> None:
    rows = (published / "rows.csv").read_bytes()
    (published / "rows.csv").write_bytes(b"<<<<<<< HEAD\n" + rows)
    assert train(prepare(tiny())) == {}
    assert (published / "rows.csv").read_bytes() == rows


def test_there_must_be_results_to_add_to(tiny: Callable[..., str], results: Path) -> None:
    assert "no results to add to" in message(prepare, tiny(), strategies=["kd"], add=True)


def test_torn_results_are_told_or_trained_again(tiny: Callable[..., str], published: Path) -> None:
    rows = (published / "rows.csv").read_text().splitlines()
    (published / "rows.csv").write_text("\n".join(rows[:-1]) + "\n")
    prepared = prepare(tiny(), add=True)
    assert prepared.plan.runs[0].stages[-1] in {stage.key for stage in prepared.missing()}
    plan = json.loads((published / "plan.json").read_text())
    without = json.dumps({key: value for key, value in plan.items() if key != "settings"})
    for content, said in (("{", "not readable"), ("{}", "plan.json lacks"), (without, "lacks 'orders' among its sett")):
        (published / "plan.json").write_text(content)
        assert said in message(prepare, tiny(), add=True)


def test_what_nobody_can_ask_for_is_a_type_error(tiny: Callable[..., str], results: Path) -> None:
    with pytest.raises(TypeError, match="'strategy'"):
        prepare(tiny(), strategy=["kd"])  # type: ignore[call-arg]
    assert prepare(tiny(), strategies=[], orders="", seeds=[], split="").experiment == prepare(tiny()).experiment


def test_all_that_is_requested_takes_the_place_of_the_experiments_own(tiny: Callable[..., str], results: Path) -> None:
    more = {f"tasks.{task}.data.train": 48 for task in ("seg", "det", "cls")}
    found = prepare(
        tiny(),
        strategies=["kd[weight=[1,2]]"],
        orders="cycle:2",
        seeds=[3],
        split="dev",
        changes={**more, "seeds": [4]},
    )
    assert found.experiment.strategies == ("kd[weight=1]", "kd[weight=2]")
    assert found.experiment.orders == (("seg", "det", "cls") * 2,)
    assert (found.experiment.seeds, found.experiment.split, found.folder.name) == ((3,), "dev", "tiny-dev")
