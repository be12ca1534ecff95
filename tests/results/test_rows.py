from cl_bench.metrics.statistics import t_interval

"""What is read back from plan, store and rows, and what the summary says of it."""

import json
import math
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from synthetic import Experiment, plausible

from cl_bench.errors import UserError
from cl_bench.results.export import export, stage_costs
from cl_bench.results.rows import load_results, read_results
from cl_bench.results.summary import baselines, environments, summary

pytestmark = pytest.mark.usefixtures("own_results")


def by_hand(results, seeds=(0, 1)):
    """Two tasks, two epochs a stage; naive and kd share the first stage with the baseline of seg."""
    experiment = Experiment(results, name="hand", tasks=("seg", "cls"), epochs=2)
    seg, cls = {0: 0.4, 1: 0.6}, {0: 0.8, 1: 0.8}
    ends = {"naive": ({0: 0.1, 1: 0.2}, {0: 0.82, 1: 0.84}), "kd": ({0: 0.39, 1: 0.585}, {0: 0.6, 1: 0.7})}
    for seed in seeds:
        first = experiment.baseline("seg", seed, [0.3, seg[seed]])
        experiment.baseline("cls", seed, [0.7, cls[seed]])
        for strategy, (past, new) in ends.items():
            scores = {"seg": [0.25, past[seed]], "cls": [0.5, new[seed]]}
            seconds = 100.0 if strategy == "naive" else 250.0
            stored = 0 if strategy == "naive" else 10
            second = experiment.stage(f"{strategy}-{seed}", ["cls"], first, scores, seconds, stored, passes=0)
            experiment.run(strategy, ("seg", "cls"), seed, [first, second])
    return experiment


def row_of(table, strategy, task):
    found = table[(table["strategy"] == strategy) & (table["task"] == task)]
    assert len(found) == 1
    return found.iloc[0]


def test_rows_are_tidy(tmp_path):
    by_hand(tmp_path).write()
    results = read_results("hand")
    rows = results.rows
    mine = rows[(rows["strategy"] == "kd") & (rows["seed"] == 1) & (rows["metric"] == "mIoU")]
    columns = ["order", "position", "stage", "trained", "epoch", "step", "last", "value", "status"]
    assert mine[columns].to_numpy().tolist() == [
        ["seg>cls", 0, "first-seg-1", "seg", 1, 1, False, 0.3, "done"],
        ["seg>cls", 0, "first-seg-1", "seg", 2, 2, True, 0.6, "done"],
        ["seg>cls", 1, "kd-1", "cls", 1, 3, False, 0.25, "done"],
        ["seg>cls", 1, "kd-1", "cls", 2, 4, True, 0.585, "done"],
    ]
    assert set(mine["kind"]) == {"segmentation"}
    assert set(rows["strategy"]) == {"baseline", "naive", "kd"}
    assert results.plan.experiment == "hand"


def test_summary_by_hand(tmp_path):
    by_hand(tmp_path).write()
    row = row_of(summary(read_results(tmp_path / "hand")), "naive", "seg")
    # baselines 0.4 and 0.6, finals 0.1 and 0.2: means 0.5 and 0.15
    expected = {"seeds": 2, "baseline": 0.5, "final": 0.15, "drop": 0.7, "points": 35.0, "same_run_drop": 0.7}
    expected |= {"forgetting": 0.35, "backward_transfer": -0.35, "intransigence": 0.0, "trivial": 0.09}
    expected |= {"stored_images": 0, "parameters": 4175137, "added_parameters": 0, "added_passes": 0}
    expected |= {"train_seconds": 200.0, "relative_cost": 1.0, "peak_memory_mb": 800.0, "mixed_environment": False}
    assert row[list(expected)].to_dict() == pytest.approx(expected)
    # residuals f - 0.3 b: -0.02 and 0.02; half-width t(1) * 0.02 / 0.5
    assert (row["drop_low"], row["drop_high"]) == pytest.approx((0.7 - 0.50824820, 0.7 + 0.50824820))
    assert row["verdict"] == "fail"


def test_summary_verdicts_costs_and_averages(tmp_path):
    by_hand(tmp_path).write()
    table = summary(read_results("hand"))
    seg, cls = row_of(table, "kd", "seg"), row_of(table, "kd", "cls")
    assert seg["drop"] == pytest.approx(0.025)  # 0.39 / 0.4 = 0.585 / 0.6: the seeds agree
    assert (seg["drop_low"], seg["drop_high"]) == pytest.approx((0.025, 0.025))
    assert seg["verdict"] == "pass"
    assert cls["drop"] == pytest.approx(0.15 / 0.8)
    assert cls["verdict"] == "fail (uncertain)"
    assert cls["relative_cost"] == pytest.approx(350 / 200)
    assert cls["stored_images"] == 10
    assert cls["average_drop"] == seg["average_drop"] == pytest.approx((0.025 + 0.1875) / 2)
    assert row_of(table, "naive", "cls")["verdict"].startswith("bonus")


def test_one_seed_is_uncertain(tmp_path):
    by_hand(tmp_path, seeds=(0,)).write()
    table = summary(read_results("hand"))
    assert set(table["verdict"]) == {"fail (uncertain)", "pass (uncertain)", "bonus (uncertain)"}
    assert table["drop_low"].isna().all()


def test_baseline_at_the_floor_is_void_and_not_averaged(tmp_path):
    experiment = by_hand(tmp_path)
    for seed in (0, 1):
        experiment.scores[f"first-cls-{seed}"] = {"cls": [0.1, 0.14]}
    experiment.write()
    results = read_results("hand")
    table = summary(results)
    assert row_of(table, "naive", "cls")["verdict"] == "void"
    assert row_of(table, "naive", "seg")["average_drop"] == pytest.approx(0.7)
    assert row_of(table, "naive", "seg")["averaged"] == 1
    assert baselines(results).query("headline").set_index("task")["void"].to_dict() == {"seg": False, "cls": True}


def test_baselines(tmp_path):
    by_hand(tmp_path).write()
    table = baselines(read_results("hand"))
    assert table["metric"].tolist() == ["mIoU", "Top-1", "Top-5"]
    row = table.iloc[0]
    assert row[["task", "metric", "trivial", "seeds", "planned"]].tolist() == ["seg", "mIoU", 0.09, 2, 2]
    assert row["score"] == pytest.approx(0.5)
    assert row["deviation"] == pytest.approx(math.sqrt(0.02))
    assert (row["low"], row["high"]) == pytest.approx(t_interval([0.4, 0.6]))
    assert table["headline"].tolist() == [True, True, False]


def test_a_baseline_that_is_not_done_counts_as_planned_only(tmp_path):
    experiment = by_hand(tmp_path)
    experiment.evaluations[experiment.plan["baselines"][0]["stage"]] = "epoch,task,metric,value\n"
    experiment.write()
    row = baselines(read_results("hand")).iloc[0]
    assert (row["seeds"], row["planned"]) == (1, 2)


def test_other_metrics_have_rows_without_verdict(tmp_path):
    by_hand(tmp_path).write()
    results = read_results("hand")
    every = summary(results, all_metrics=True)
    more = every[every["metric"] == "Top-5"]
    assert len(more) == 2
    assert set(more["verdict"]) == {""}
    assert more.iloc[0]["baseline"] == pytest.approx(0.88)
    same = every[every["headline"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, summary(results), check_like=True)


def test_failed_stage_and_its_children(tmp_path):
    experiment = plausible(tmp_path, seeds=(0, 1), strategies=("naive", "kd"))
    experiment.write(without=["kd-seg-det-cls-1"], failed=["kd-seg-det-1"])
    results = read_results("quickstart")
    rows = results.rows
    lost = rows[(rows["strategy"] == "kd") & (rows["seed"] == 1) & rows["value"].isna()]
    assert lost.groupby("stage")["status"].unique().str[0].to_dict() == {
        "kd-seg-det-1": "failed",
        "kd-seg-det-cls-1": "missing",
    }
    assert results.failures == {"kd-seg-det-1": "the loss is not finite"}
    table = summary(results)
    kd = table[table["strategy"] == "kd"]
    columns = ["status", "verdict", "seeds", "planned_seeds"]
    assert kd[columns].drop_duplicates().to_numpy().tolist() == [["failed", "", 1, 2]]
    assert kd["average_drop"].isna().all()
    assert set(table[table["strategy"] == "naive"]["status"]) == {"done"}


def test_missing_stage_is_incomplete_and_an_old_failure_that_was_trained_since_is_none(tmp_path):
    experiment = plausible(tmp_path, seeds=(0,), strategies=("naive",))
    experiment.write(without=["naive-seg-det-cls-0"], failed=["first-det-0"])
    experiment._write_stage("first-det-0")
    table = summary(read_results("quickstart"))
    assert set(table["status"]) == {"incomplete"}
    assert table["final"].isna().all()


def test_a_missing_baseline_spoils_its_task_only(tmp_path):
    experiment = plausible(tmp_path, seeds=(0,), strategies=("naive",))
    experiment.write(failed=["first-det-0"])
    table = summary(read_results("quickstart")).set_index("task")
    assert table["status"].to_dict() == {"seg": "done", "det": "failed", "cls": "done"}


def test_joint_has_no_same_run_figures(tmp_path):
    plausible(tmp_path, joint=True).write()
    table = summary(read_results("quickstart"))
    joint = table[table["strategy"] == "joint"]
    assert joint[["same_run_drop", "forgetting", "backward_transfer", "intransigence"]].isna().all(axis=None)
    assert joint["drop"].notna().all()
    assert table[table["strategy"] == "kd"]["same_run_drop"].notna().all()


def test_orders_are_apart(tmp_path):
    orders = (("seg", "det"), ("det", "seg"))
    plausible(tmp_path, tasks=("seg", "det"), orders=orders, strategies=("naive",)).write()
    table = summary(read_results("quickstart")).set_index(["order", "task"])
    assert list(table.index) == [("seg>det", "seg"), ("seg>det", "det"), ("det>seg", "det"), ("det>seg", "seg")]
    assert table.loc[("seg>det", "seg"), "final"] < 0.5 * table.loc[("det>seg", "seg"), "final"]


def test_without_the_store_rows_give_equal_tables(tmp_path):
    folder = plausible(tmp_path, joint=True).write()
    before = summary(read_results(folder), all_metrics=True)
    rows, costs = load_results(folder), stage_costs(folder)
    assert [path.name for path in export(folder)] == ["rows.csv", "stages.csv"]
    shutil.rmtree(tmp_path / "stages")
    pd.testing.assert_frame_equal(load_results(folder), rows, check_exact=True)
    pd.testing.assert_frame_equal(stage_costs(folder), costs, check_exact=True)
    pd.testing.assert_frame_equal(summary(read_results(folder), all_metrics=True), before, check_exact=True)
    assert sorted(path.name for path in folder.iterdir()) == ["plan.json", "rows.csv", "stages.csv"]


def test_export_keeps_what_only_the_tables_have(tmp_path):
    folder = plausible(tmp_path, seeds=(0,)).write()
    export(folder)
    kept = (folder / "rows.csv").read_bytes(), (folder / "stages.csv").read_bytes()
    shutil.rmtree(tmp_path / "stages" / "first-seg-0")
    export(folder)
    assert ((folder / "rows.csv").read_bytes(), (folder / "stages.csv").read_bytes()) == kept


def test_store_elsewhere(tmp_path, monkeypatch):
    folder = by_hand(tmp_path).write()
    (tmp_path / "stages").rename(tmp_path / "away")
    assert load_results(folder)["value"].isna().all()
    monkeypatch.setenv("CL_BENCH_STORE", str(tmp_path / "away"))
    assert load_results(folder)["value"].notna().all()


def test_mixed_environments_are_flagged(tmp_path):
    experiment = by_hand(tmp_path)
    experiment.environments["kd-0"] = {"torch": "2.7.0"}
    experiment.write()
    results = read_results("hand")
    table = summary(results)
    assert table.groupby("strategy")["mixed_environment"].all().to_dict() == {"kd": True, "naive": False}
    assert environments(results.costs.values())["torch"] == ["2.6.0", "2.7.0"]


@pytest.mark.parametrize(
    ("other", "mixed"),
    [("6.18.44-fc-v657-x86_64-with-glibc2.36", False), ("6.1.5-x86_64-with-glibc2.41", True)],
)
def test_another_kernel_is_no_other_environment_but_another_libc_is(tmp_path, other, mixed):
    experiment = by_hand(tmp_path)
    experiment.environments |= {key: {"platform": "Linux-6.1.5-x86_64-with-glibc2.36"} for key in experiment.stages}
    experiment.environments["kd-0"] = {"platform": f"Linux-{other}"}
    experiment.write()
    results = read_results("hand")
    table = summary(results)
    assert table["mixed_environment"].any() == mixed
    assert environments(results.costs.values())["platform"][0] == "Linux-x86_64-with-glibc2.36"


@pytest.mark.parametrize("all_of_them", [True, False])
def test_operations_that_were_counted_in_two_ways_are_not_compared(tmp_path, all_of_them):
    experiment = by_hand(tmp_path)
    for key, cost in experiment.costs.items():
        cost["training_flops"] = 3e9 if key.startswith("kd") else 1e9
        if all_of_them or key.startswith("kd"):
            cost["multiply_adds"] = 5e8
    experiment.write()
    found = summary(read_results("hand")).groupby("strategy")["relative_flops"].first()
    assert found["naive"] == 1
    assert found["kd"] == 2 if all_of_them else math.isnan(found["kd"])


def test_select(tmp_path):
    by_hand(tmp_path).write()
    results = read_results("hand")
    some = results.select(strategies=["kd"], seeds=[1])
    assert set(some.rows["strategy"]) == {"kd", "baseline"}
    row = row_of(summary(some), "kd", "seg")
    assert (row["seeds"], row["baseline"]) == (1, 0.6)
    assert row["relative_cost"] == pytest.approx(350 / 200)  # naive is in the plan, shown or not
    alone = baselines(some)
    assert alone[["score", "seeds", "planned"]].iloc[0].tolist() == [0.6, 1, 1], "the baselines of that seed"
    with pytest.raises(UserError, match="unknown strategy 'naiv'; did you mean 'naive'"):
        results.select(strategies=["naiv"])
    with pytest.raises(UserError, match="unknown seed '7'"):
        results.select(seeds=[7])


def test_rows_that_are_torn_or_said_twice_are_named(tmp_path):
    folder = by_hand(tmp_path).write()
    export(folder)
    shutil.rmtree(tmp_path / "stages")
    rows = (folder / "rows.csv").read_text()
    read_results(folder)
    (folder / "rows.csv").write_text(rows[:-2])
    with pytest.raises(UserError, match=r"rows\.csv is torn"):
        read_results(folder)
    (folder / "rows.csv").write_text(rows + "0123")  # of the next stage, of which nothing is known yet
    read_results(folder)
    (folder / "rows.csv").write_text(rows)
    stages = (folder / "stages.csv").read_text()
    (folder / "stages.csv").write_text(stages[: stages.rindex(",", 0, -30)])
    with pytest.raises(UserError, match=r"stages\.csv is torn"):
        read_results(folder)
    (folder / "stages.csv").write_text(stages + stages.splitlines()[-1] + "\n")
    with pytest.raises(UserError, match=r"stages\.csv has stage .* twice"):
        read_results(folder)
    (folder / "stages.csv").write_text(stages)
    (folder / "rows.csv").write_text(rows[:-1] + ",0.9\n")
    with pytest.raises(UserError, match=r"rows\.csv is torn"):
        read_results(folder)
    (folder / "rows.csv").write_text(rows + rows.splitlines()[-1].rpartition(",")[0] + ",0.9\n")
    with pytest.raises(UserError, match=r"rows\.csv says an evaluation of stage .* twice"):
        read_results(folder)


def test_bad_input_is_named(tmp_path):
    folder = by_hand(tmp_path).write()
    with pytest.raises(UserError, match="unknown experiment with results"):
        read_results("e" * 300)
    with pytest.raises(UserError, match=r"unknown experiment with results 'hant'; did you mean 'hand'"):
        read_results("hant")
    plan = json.loads((folder / "plan.json").read_text())
    for content, message in [
        ("{torn", "plan.json"),
        (json.dumps({**plan, "schema": 99}), "plan.json was written by a newer version"),
        (json.dumps({key: value for key, value in plan.items() if key != "runs"}), "plan.json lacks 'runs'"),
        (json.dumps({**plan, "tasks": None}), "plan.json: tasks: Input should be a valid list"),
        (json.dumps({**plan, "tasks": plan["tasks"][1:]}), "is not one of its tasks"),
        (json.dumps({**plan, "runs": [{**plan["runs"][0], "seed": "x"}]}), r"runs\.0\.seed: Input should be"),
        (json.dumps({**plan, "tasks": [{**plan["tasks"][0], "trivial": None}]}), r"tasks\.0\.trivial: Input should be"),
        (json.dumps({**plan, "settings": []}), "settings: Input should be a valid dict"),
        (
            json.dumps({**plan, "tasks": [{**plan["tasks"][0], "trivial": "0.05"}]}),
            r"tasks\.0\.trivial: Input should be",
        ),
        (json.dumps({**plan, "settings": {"seeds": [[0]]}}), r"settings\.seeds\.0: Input should be a valid integer"),
        (json.dumps({**plan, "settings": {"orders": [["a", ["b"]]]}}), r"settings\.orders\.0\.1: Input should be"),
        (json.dumps({**plan, "stages": {}}), "plan.json: stage first-cls-0 belongs to a run but is not listed"),
    ]:
        (folder / "plan.json").write_text(content)
        with pytest.raises(UserError, match=message):
            read_results(folder)


@pytest.mark.parametrize("content", ["epoch,task,metric\n1,seg,mIoU\n", "epoch,task,metric,value\n1,seg,mIoU,0.x\n"])
def test_torn_evaluations_are_named(tmp_path, content):
    experiment = by_hand(tmp_path)
    experiment.evaluations["kd-0"] = content
    folder = experiment.write()
    with pytest.raises(UserError, match=r"kd-0/evaluations.csv is torn"):
        read_results(folder)


def test_stage_without_an_evaluation_at_its_end_is_missing(tmp_path):
    experiment = by_hand(tmp_path)
    experiment.evaluations["kd-0"] = "epoch,task,metric,value\n1,seg,mIoU,0.25\n"
    folder = experiment.write()
    table = summary(read_results(folder))
    assert set(table[table["strategy"] == "kd"]["status"]) == {"incomplete"}
    assert row_of(table, "kd", "seg")["seeds"] == 1


def test_costs_of_a_device_that_reports_none(tmp_path):
    experiment = by_hand(tmp_path)
    for cost in experiment.costs.values():
        cost["peak_memory_mb"] = None
    folder = experiment.write()
    assert summary(read_results(folder))["peak_memory_mb"].map(math.isnan).all()


def test_reading_results_imports_no_torch(tmp_path):
    folder = plausible(tmp_path, seeds=(0,)).write()
    code = (
        "import sys\n"
        "from cl_bench.report.figures.curves import forgetting_curves\n"
        "from cl_bench.report.figures.style import save\n"
        "from cl_bench.report.tables.drops import render\n"
        "from cl_bench.results.rows import read_results\n"
        "from cl_bench.results.summary import summary\n"
        f"results = read_results({str(folder)!r})\n"
        "render(summary(results), results, 'terminal')\n"
        f"[save(figure, {str(folder)!r}, 'c') for figure in forgetting_curves(results).values()]\n"
        "print(sorted({'torch', 'avalanche', 'scipy.stats', 'matplotlib.pyplot'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_takes_its_rows_from_the_store_whatever_became_of_the_exported_ones(tmp_path):
    folder = by_hand(tmp_path).write()
    before = load_results(folder)
    for path in export(folder):
        content = path.read_text()
        path.write_text(content.replace("0.39", "0.99"))
        export(folder)
        assert load_results(folder).equals(before)
        path.write_text(content[: len(content) // 2] + "\n,,,")
        export(folder)
        assert load_results(folder).equals(before)


def test_a_baseline_of_a_seed_that_was_not_asked_for_spoils_nothing(tmp_path):
    experiment = by_hand(tmp_path, seeds=(0, 1))
    experiment.baseline("seg", 2, [0.3, 0.4])
    experiment.write(without=["first-seg-2"])
    results = read_results("hand")
    assert row_of(summary(results), "kd", "seg")["status"] == "incomplete"
    assert row_of(summary(results.select(seeds=[0, 1])), "kd", "seg")["status"] == "done"


def test_seeds_of_baselines_alone_can_be_chosen(tmp_path):
    experiment = Experiment(tmp_path, name="alone", tasks=("seg",), epochs=1)
    for seed, score in enumerate((0.4, 0.6)):
        experiment.baseline("seg", seed, [score])
    experiment.write()
    results = read_results("alone")
    assert baselines(results.select(seeds=[1]))["score"].tolist() == [0.6]
    with pytest.raises(UserError, match="unknown seed '7'"):
        results.select(seeds=[7])


def test_what_is_learnt_anew_is_no_stability_gap(tmp_path):
    experiment = Experiment(tmp_path, name="back", tasks=("seg", "cls"), epochs=2)
    first = experiment.baseline("seg", 0, [0.3, 0.4])
    experiment.baseline("cls", 0, [0.7, 0.8])
    second = experiment.stage("second", ["cls"], first, {"seg": [0.2, 0.3], "cls": [0.7, 0.8]})
    third = experiment.stage("third", ["seg"], second, {"seg": [0.05, 0.5], "cls": [0.6, 0.62]})
    experiment.run("naive", ("seg", "cls", "seg"), 0, [first, second, third])
    experiment.write()
    found = summary(read_results("back"))
    seg, cls = (row_of(found, "naive", task) for task in ("seg", "cls"))
    assert (seg["stability_gap"], seg["lowest"]) == pytest.approx((0.1, 0.05))
    assert cls["stability_gap"] == pytest.approx(0.02)
