"""Differences of drops between strategies, by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
from synthetic import Experiment, plausible

from cl_bench.cli.tables import Format, Output, Table, print_table
from cl_bench.errors import UserError
from cl_bench.report.tables import over_orders as report_over_orders
from cl_bench.report.tables import versions as report_versions
from cl_bench.report.tables.differences import render, settled
from cl_bench.results.comparison import differences, finals, over_orders, versions
from cl_bench.results.rows import read_results
from cl_bench.results.summary import summary

pytestmark = pytest.mark.usefixtures("own_results")


def by_hand(results):
    """Seg, then cls, two seeds: naive loses .75 and .7 of seg, kd .05 and .1."""
    experiment = Experiment(results, name="hand", tasks=("seg", "cls"), epochs=1)
    ends = {"naive": (0.1, 0.15), "kd": (0.38, 0.45)}
    for seed, baseline in enumerate((0.4, 0.5)):
        first = experiment.baseline("seg", seed, [baseline])
        experiment.baseline("cls", seed, [0.8])
        for strategy, past in ends.items():
            scores = {"seg": [past[seed]], "cls": [0.8]}
            experiment.run(
                strategy,
                ("seg", "cls"),
                seed,
                [first, experiment.stage(f"{strategy}-{seed}", ["cls"], first, scores)],
            )
    return experiment


def row_of(table, strategy, task):
    (row,) = table[(table["strategy"] == strategy) & (table["task"] == task)].to_dict("records")
    return row


def test_a_run_ends_with_its_last_stage(tmp_path):
    by_hand(tmp_path).write()
    table = finals(read_results("hand"))
    assert table[table["task"] == "seg"]["drop"].tolist() == pytest.approx([0.75, 0.05, 0.7, 0.1])
    row = row_of(table[table["seed"] == 0], "kd", "seg")
    assert (row["baseline"], row["final"]) == (0.4, 0.38)
    assert (row["baseline_stage"], row["final_stage"]) == ("first-seg-0", "kd-0")


def test_differences_are_paired_by_seed(tmp_path):
    by_hand(tmp_path).write()
    row = row_of(differences(read_results("hand")), "kd", "seg")
    # Of the means over seeds: naive keeps .125 of .45, kd .415.
    assert row["difference"] == pytest.approx((0.125 - 0.415) / 0.45)
    assert (row["seeds"], row["p"], row["least_p"], row["probability"]) == (2, 0.5, 0.5, 1)
    assert row["low"] < row["difference"] < row["high"]
    assert math.isnan(row["images_deviation"])
    reverse = row_of(differences(read_results("hand"), "kd"), "naive", "seg")
    assert reverse["difference"] == pytest.approx(0.29 / 0.45)
    assert reverse["probability"] == 0


def test_a_run_that_is_not_done_takes_no_part(tmp_path):
    by_hand(tmp_path).write(without=["kd-1"])
    row = row_of(differences(read_results("hand")), "kd", "seg")
    assert (row["seeds"], row["difference"]) == (1, pytest.approx(-0.7))


def test_a_seed_whose_baseline_is_zero_has_no_drop_and_takes_no_part(tmp_path):
    experiment = by_hand(tmp_path)
    experiment.scores["first-seg-1"]["seg"] = [0.0]
    experiment.write()
    row = row_of(differences(read_results("hand")), "kd", "seg")
    assert (row["seeds"], row["p"], row["difference"]) == (1, 1, pytest.approx(-0.7))


def test_void_tasks_are_left_out(tmp_path):
    experiment = by_hand(tmp_path)
    next(task for task in experiment.plan["tasks"] if task["name"] == "seg")["trivial"] = 0.6
    experiment.write()
    assert set(differences(read_results("hand"))["task"]) == {"cls"}


@pytest.mark.parametrize("baseline", [0.4, 0.0])
def test_void_tasks_alone_are_not_compared(tmp_path, baseline):
    experiment = by_hand(tmp_path)
    for task in experiment.plan["tasks"]:
        task["trivial"] = 0.9
    experiment.scores["first-seg-1"]["seg"] = [baseline]
    experiment.write()
    expected = (
        r"^every baseline of hand is void \(`cl-bench table hand --baselines`\), so there are no drops to compare$"
    )
    with pytest.raises(UserError, match=expected):
        differences(read_results("hand"))


def test_one_strategy_alone_is_held_against_nothing(tmp_path):
    experiment = by_hand(tmp_path)
    experiment.plan["runs"] = [run for run in experiment.plan["runs"] if run["strategy"] == "naive"]
    experiment.write()
    with pytest.raises(UserError, match="nothing to hold against naive"):
        differences(read_results("hand"))


def test_images_are_resampled_together(tmp_path):
    experiment = by_hand(tmp_path)
    lots = np.random.default_rng(0).uniform(0.8, 1.2, 1000).astype(np.float32)
    for seed, baseline in enumerate((0.4, 0.5)):
        experiment.resamples[f"first-seg-{seed}"] = {"seg": baseline * lots}
        for strategy in ("naive", "kd"):
            final = experiment.scores[f"{strategy}-{seed}"]["seg"][0]
            experiment.resamples[f"{strategy}-{seed}"] = {"seg": final * lots}
    experiment.write()
    row = row_of(differences(read_results("hand")), "kd", "seg")
    # What makes all images harder alike changes no ratio, so that only the seeds can.
    assert row["images_deviation"] == pytest.approx(0, abs=1e-6)
    assert row["seeds_deviation"] > 0.01
    assert math.isnan(row_of(differences(read_results("hand")), "kd", "cls")["images_deviation"])


def test_the_strategy_that_others_are_held_against_must_be_there(tmp_path):
    by_hand(tmp_path).write()
    with pytest.raises(UserError, match="did you mean 'naive'"):
        differences(read_results("hand"), "naiv")


def test_strategies_may_be_chosen_without_the_one_they_are_held_against(tmp_path, capsys):
    print_table(by_hand(tmp_path).write(), Table(against="naive", strategies=("kd",)), [Output(Format.csv)])
    header, *rows = capsys.readouterr().out.split()
    assert header.startswith("strategy,")
    assert {row.split(",")[0] for row in rows} == {"kd"}


def test_two_strategies_that_differ_by_noise_have_no_winner(tmp_path):
    experiment = plausible(tmp_path, strategies=("naive", "kd", "replay"), seeds=range(5))
    noise = np.random.default_rng(0)
    for run in experiment.plan["runs"]:
        if run["strategy"] == "replay":
            kd = next(r for r in experiment.plan["runs"] if (r["strategy"], r["seed"]) == ("kd", run["seed"]))
            for own, other in zip(run["stages"], kd["stages"], strict=True):
                if own != other:
                    experiment.scores[own] = {
                        task: [score + noise.normal(0, 0.02) for score in scores]
                        for task, scores in experiment.scores[other].items()
                    }
    folder = experiment.write()
    against_naive = differences(read_results(folder))
    assert settled(row_of(against_naive, "kd", "seg")) == "less"
    assert settled(row_of(differences(read_results(folder), "kd"), "replay", "seg")) == ""


@pytest.mark.parametrize("format", ["terminal", "markdown", "latex", "csv"])
def test_the_table_says_how_sure_it_is(tmp_path, format):
    by_hand(tmp_path).write()
    results = read_results("hand")
    text = render(differences(results), results, "naive", format)
    assert "64.4" in text or "-0.644" in text
    if format != "csv":
        assert "against naive" in text
        assert "p cannot be below 0.5" in text.replace("\n", " ")


def both_orders(results, kd=True):
    """Seg and cls in both orders, two seeds: naive loses .75 and .7 of seg, or half of cls; kd nothing."""
    experiment = Experiment(results, name="both", tasks=("seg", "cls"), epochs=1)
    for seed, seg in enumerate((0.4, 0.5)):
        single = {"seg": seg, "cls": 0.8}
        first = {task: experiment.baseline(task, seed, [score]) for task, score in single.items()}
        for strategy, kept in {"naive": {"seg": (0.1, 0.15)[seed], "cls": 0.4}, "kd": single}.items():
            for past, new in (("seg", "cls"), ("cls", "seg")):
                if strategy == "naive" or kd or past == "seg":
                    scores = {past: [kept[past]], new: [single[new]]}
                    stage = experiment.stage(f"{strategy}-{past}-{seed}", [new], first[past], scores)
                    experiment.run(strategy, (past, new), seed, [first[past], stage])
    return experiment


def test_over_all_orders(tmp_path):
    both_orders(tmp_path).write()
    table = over_orders(read_results("both")).set_index("strategy")
    naive = table.loc["naive"]
    seg = 1 - 0.125 / 0.45
    assert naive["drop"] == pytest.approx((seg + 0.5) / 4)
    assert naive["spread"] == pytest.approx((seg - 0.5) / 2)
    assert naive["worst_drop"] == pytest.approx(seg)
    assert (naive["worst_task"], naive["worst_order"], naive["orders"], naive["seeds"]) == ("seg", "seg>cls", 2, 2)
    # By hand: a fourth of seg's residual, .1 - (1 - drop) .4, in means of the baseline, and t = 12.706 of one freedom.
    assert naive["high"] - naive["drop"] == pytest.approx(12.7062 * abs(0.1 - (1 - seg) * 0.4) / 0.45 / 4, rel=1e-4)
    assert naive["drop"] - naive["low"] == pytest.approx(naive["high"] - naive["drop"])
    assert (table.loc["kd", ["drop", "low", "high", "spread"]].abs() < 1e-12).all()


def test_a_strategy_that_lacks_an_order_has_no_mean_over_all(tmp_path):
    folder = both_orders(tmp_path, kd=False).write()
    results = read_results("both")
    table = over_orders(results)
    assert table["strategy"].tolist() == ["naive"]
    assert "Left out, as not every order is done: kd." in report_over_orders.render(table, results, "markdown")
    with pytest.raises(UserError, match="strategy of which all orders are done 'kd'"):
        over_orders(read_results("both"), "kd")
    with pytest.raises(UserError, match="takes two orders"):
        print_table(folder, Table(over_orders=True, strategies=("kd",)))


def test_one_order_has_no_mean_over_orders(tmp_path):
    by_hand(tmp_path).write()
    with pytest.raises(UserError, match="takes two orders of the tasks: run it with --orders all"):
        over_orders(read_results("hand"))


def test_orders_may_be_chosen():
    results = read_results(Path(__file__).parents[2] / "results" / "orders")
    table = over_orders(results.select(orders=["seg>det>cls", "det>seg>cls"]))
    assert table[["orders", "seeds"]].to_numpy().tolist() == [[2, 3]] * 3
    drops = summary(results).drop_duplicates(["strategy", "order"]).set_index(["strategy", "order"])["average_drop"]
    pair = drops["naive", "seg>det>cls"], drops["naive", "det>seg>cls"]
    assert table.set_index("strategy").loc["naive", ["drop", "spread"]].tolist() == pytest.approx(
        [sum(pair) / 2, abs(pair[0] - pair[1])]
    )
    with pytest.raises(UserError, match="takes two orders"):
        over_orders(results.select(orders=["seg>det>cls"]))


def test_differences_are_of_the_seeds_that_both_have(tmp_path):
    both_orders(tmp_path).write(without=["kd-seg-1"])
    table = over_orders(read_results("both")).set_index("strategy")
    kd = table.loc["kd"]
    assert (kd["seeds"], kd["paired_seeds"], table.loc["naive", "seeds"]) == (1, 1, 2)
    assert kd["difference"] == pytest.approx(-(0.75 + 0.5) / 4)  # naive's drop of seed 0 alone


@pytest.mark.parametrize("format", ["terminal", "markdown", "latex", "csv"])
def test_the_table_over_all_orders(tmp_path, format):
    both_orders(tmp_path).write()
    results = read_results("both")
    text = report_over_orders.render(over_orders(results), results, format)
    assert "30.6" in text or "0.3055" in text
    assert "72.2" in text or "0.7222" in text
    if format != "csv":
        assert "2 orders" in text
        assert "naive" in text


def test_over_all_orders_strategies_are_paired_by_seed(tmp_path, capsys):
    folder = both_orders(tmp_path).write()
    table = over_orders(read_results("both"), "kd").set_index("strategy")
    seg = 1 - 0.125 / 0.45
    naive = table.loc["naive", ["difference", "difference_low", "difference_high"]].tolist()
    assert naive == pytest.approx(table.loc["naive", ["drop", "low", "high"]].tolist())  # kd loses nothing of any seed
    table = over_orders(read_results("both")).set_index("strategy")
    assert table.loc["kd", "difference"] == pytest.approx(-(seg + 0.5) / 4)
    print_table(folder, Table(over_orders=True, against="kd"))
    assert "differences from kd" in capsys.readouterr().out
    with pytest.raises(UserError, match="did you mean 'kd'"):
        over_orders(read_results("both"), "kdd")


def two_versions(tmp_path):
    """The experiment by hand, and one whose kd keeps .02 of seg more with both seeds, with joint in place of naive."""
    first = by_hand(tmp_path).write()
    second = by_hand(tmp_path)
    second.folder = tmp_path / "later"
    second.plan["experiment"] = "later"
    second.plan["settings"]["epochs"] = 3
    second.plan["runs"] = [
        {**run, "strategy": "ewc"} if run["strategy"] == "naive" else run for run in second.plan["runs"]
    ]
    for seed, final in enumerate((0.4, 0.47)):
        second.scores[f"kd-{seed}"] = {**second.scores[f"kd-{seed}"], "seg": [final]}
    second.store = second.results / "later-stages"
    return first, second


def test_two_versions_side_by_side(tmp_path, monkeypatch):
    first, second = two_versions(tmp_path)
    results = read_results(first)
    monkeypatch.setenv("CL_BENCH_STORE", str(second.store))
    later = read_results(second.write())
    table = versions(results, later)
    row = row_of(table, "kd", "seg")
    assert (row["final_first"], row["final_second"]) == pytest.approx((0.415, 0.435))
    assert (row["change"], row["low"], row["high"]) == pytest.approx((2.0, 2.0, 2.0))
    assert (row["drop_first"], row["drop_second"]) == pytest.approx((0.035 / 0.45, 0.015 / 0.45))
    assert (row["verdict_first"], row["verdict_second"]) == ("fail (uncertain)", "pass (uncertain)")
    assert row_of(table, "baseline", "cls")["change"] == 0
    gone = row_of(table, "naive", "seg")
    assert (gone["seeds_first"], gone["seeds_second"]) == (2, 0)
    assert math.isnan(gone["change"])
    text = report_versions.render(table, results, later, "markdown")
    assert "| kd | seg (mIoU) | 0.415 | 0.435 | +2.0 [2.0, 2.0] | 7.8 | 3.3 |" in text
    assert "- Only in A: naive, seg>cls." in text
    assert "- Only in B: ewc, seg>cls." in text
    assert "- Differs in epochs: none -> 3." in text
    assert "naive |" not in text


def test_an_experiment_beside_itself_differs_in_nothing(tmp_path):
    results = read_results(by_hand(tmp_path).write())
    table = versions(results, results)
    assert set(table["change"]) == {0.0}
    assert "iffer" not in report_versions.render(table, results, results, "terminal")


def test_nothing_in_common_is_said(tmp_path):
    results = read_results(by_hand(tmp_path).write())
    other = read_results(plausible(tmp_path, tasks=("det",)).write())
    with pytest.raises(UserError, match="nothing can be compared"):
        versions(results, other)


def test_what_one_of_two_versions_did_not_finish_is_not_said_to_be_in_the_other_alone(tmp_path, monkeypatch):
    first, second = two_versions(tmp_path)
    results = read_results(first)
    monkeypatch.setenv("CL_BENCH_STORE", str(second.store))
    second.write(failed=["kd-0", "kd-1"])
    later = read_results(second.folder)
    text = report_versions.render(versions(results, later), results, later, "markdown")
    assert "Only in A: kd" not in text
    assert "| kd | seg (mIoU) | 0.415 |" in text
