"""The table says what the summary holds, in every format, and names what a reader must know."""

import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from synthetic import Experiment, plausible

from cl_bench.errors import UserError
from cl_bench.report.tables import baselines, differences, versions
from cl_bench.report.tables.drops import ordered, render
from cl_bench.report.tables.layout import Heading, Section, write
from cl_bench.results import comparison
from cl_bench.results.filters import filtered
from cl_bench.results.rows import read_results
from cl_bench.results.summary import baselines as baseline_table
from cl_bench.results.summary import summary

pytestmark = pytest.mark.usefixtures("own_results")

FORMATS = ("terminal", "markdown", "latex", "csv")


def by_hand(results, strategy="naive", name="quickstart", schedule="per_stage"):
    """Baselines 0.4 and 0.6 (seg), 0.8 (cls); finals 0.1 and 0.2, 0.84 and 0.86."""
    experiment = Experiment(results, name=name, tasks=("seg", "cls"), epochs=1, schedule=schedule)
    for seed, seg, lost, cls in ((0, 0.4, 0.1, 0.84), (1, 0.6, 0.2, 0.86)):
        first = experiment.baseline("seg", seed, [seg])
        experiment.baseline("cls", seed, [0.8])
        second = experiment.stage(f"second-{seed}", ["cls"], first, {"seg": [lost], "cls": [cls]}, 150.0, 10, 1)
        experiment.run(strategy, ("seg", "cls"), seed, [first, second])
    return experiment


def shown(folder, format, **options):
    results = read_results(folder)
    return render(summary(results), results, format, **options)


def cells(text):
    """Markdown's rows: strategy and task -> the other cells."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {(row[0], row[1]): row[2:] for row in rows}


def test_values_by_hand(tmp_path):
    rows = cells(shown(by_hand(tmp_path).write(), "markdown"))
    head = ["baseline", "final ↑", "drop % ↓ [95 %]", "% points", "same-run %", "verdict"]
    assert rows["strategy", "task (metric)"] == [*head, "stored", "train s", "x naive", "peak MB"]
    interval = "70.0 [19.2, 120.8]"
    assert rows["naive", "seg (mIoU)"] == [
        "0.500",
        "0.150",
        interval,
        "35.0",
        "70.0",
        "fail",
        "10",
        "250",
        "1.00",
        "850",
    ]
    cls = rows["", "cls (Top-1)"]
    assert cls == ["0.800", "0.850", "-6.2 [-22.1, 9.6]", "-5.0", "0.0", "bonus (uncertain)", "", "", "", ""]
    assert rows["", "mean drop"][2] == "31.9"  # (70 - 6.25) / 2


@pytest.mark.parametrize("format", ["terminal", "markdown", "latex"])
def test_every_table_says_what_it_needs(tmp_path, format):
    text = " ".join(shown(plausible(tmp_path).write(), format).replace("\\_", "_").split())
    for part in (
        "seeds 0, 1, 2",
        "per_stage (a full cosine in every stage)",
        "det: detection, AP50, predictor per_class, 10 classes, 240/60 images, 5 epochs at 128 px, trivial 0.010",
        "4,175,137 parameters; no strategy adds parameters or forward passes",
        "commit abc1234, machine a_box, version 0.1.0, processor Some CPU",
    ):
        assert part in text


def test_tasks_that_stand_in_no_order_are_not_told(tmp_path):
    experiment = plausible(tmp_path, tasks=("seg", "cls"))
    experiment.plan["tasks"].append({**experiment.plan["tasks"][0], "name": "det", "kind": "detection"})
    text = shown(experiment.write(), "markdown")
    assert "- cls: classification" in text
    assert "- det: detection" not in text


def test_total_schedule_is_said_to_be_unequal(tmp_path):
    assert "stages have UNEQUAL learning rates" in shown(by_hand(tmp_path, schedule="total").write(), "markdown")


def test_what_a_strategy_adds_is_said(tmp_path):
    experiment = by_hand(tmp_path)
    for cost in experiment.costs.values():
        cost["added_parameters"] = 1200
    assert "naive adds 1,200 parameters and 1 passes" in shown(experiment.write(), "markdown")


def test_mixed_environments_are_said_and_marked(tmp_path):
    experiment = by_hand(tmp_path)
    experiment.environments["second-1"] = {"processor": "Other CPU"}
    text = shown(experiment.write(), "markdown")
    assert "these rows mix environments: processor Other CPU | Some CPU" in text
    assert cells(text)["naive", "seg (mIoU)"][5] == "fail †"


def test_failed_and_incomplete_have_no_verdict(tmp_path):
    experiment = plausible(tmp_path, strategies=("naive", "kd", "replay"))
    folder = experiment.write(
        failed=["kd-seg-det-1"], without=["kd-seg-det-cls-1", *(f"replay-seg-det-cls-{seed}" for seed in (0, 1, 2))]
    )
    text = shown(folder, "markdown")
    rows = cells(text)
    assert rows["kd", "seg (mIoU)"][5] == "failed 2/3 seeds"
    assert rows["replay", "seg (mIoU)"][1:6] == ["-", "-", "-", "-", "incomplete 0/3 seeds"]
    assert "Failed stage kd-seg-det-1: the loss is not finite." in text
    assert rows["naive", "seg (mIoU)"][5] == "fail"


def test_void_task_is_left_out_of_the_mean(tmp_path):
    experiment = by_hand(tmp_path)
    for seed in (0, 1):
        experiment.scores[f"first-cls-{seed}"] = {"cls": [0.12]}
    rows = cells(shown(experiment.write(), "markdown"))
    assert rows["", "cls (Top-1)"][5] == "void"
    assert (rows["", "mean drop"][2], rows["", "mean drop"][5]) == ("70.0", "1 of 2 tasks")


def test_full_adds_the_fields_standard_measures(tmp_path):
    folder = by_hand(tmp_path).write()
    row = cells(shown(folder, "markdown", full=True))["naive", "seg (mIoU)"]
    assert row[5:8] == ["0.350", "-0.350", "+0.000"]
    assert row[-2:] == ["0", "1"]
    assert "transfer" in shown(folder, "terminal", full=True)
    assert "transfer" not in shown(folder, "terminal")


def test_csv_holds_every_measure_unrounded(tmp_path):
    folder = by_hand(tmp_path).write()
    table = pd.read_csv(io.StringIO(shown(folder, "csv")))
    assert table["drop"].tolist() == pytest.approx([0.7, -0.0625])
    further = {"forgetting", "backward_transfer", "intransigence", "added_passes", "predictor", "schedule", "commit"}
    assert further <= set(table.columns)
    assert table["backward_transfer"].tolist() == pytest.approx([-0.35, 0.0])
    assert table["machine"].tolist() == ["a_box", "a_box"]


@pytest.mark.parametrize("full", [False, True])
def test_terminal_fits_and_cuts_nothing(tmp_path, full):
    strategy = "kd[temperature=4,direction=student_teacher]+replay[memory=20]"
    text = shown(by_hand(tmp_path, strategy).write(), "terminal", full=full)
    assert max(map(len, text.splitlines())) <= 120
    assert "…" not in text
    assert "\x1b" not in text
    line = next(line for line in text.splitlines() if "seg (mIoU)" in line)
    assert "70.0 [19.2, 120.8]" in line
    assert "fail" in line
    start = text.splitlines()[2].index("task (metric)")
    folded = "".join(line[:start].strip() for line in text.splitlines()[4:12] if not line.startswith("─"))
    assert folded.startswith(strategy)


def test_terminal_colours_on_request(tmp_path):
    assert "\x1b[31mfail" in shown(by_hand(tmp_path).write(), "terminal", colour=True)


def test_latex_escapes_and_balances(tmp_path):
    text = shown(by_hand(tmp_path, "my_own[share=50%,keep=a&b]#1", name="one_two").write(), "latex")
    assert r"my\_own{[}share=50\%,keep=a\&b{]}\#1" in text
    assert r"\caption{one\_two: seg$>$cls}" in text
    assert r"$-$6.2" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == text.count(r"\begin{tabular}") == 1
    braces = re.sub(r"\\\\|\\[{}]", "", text)
    assert braces.count("{") == braces.count("}")


def test_markdown_escapes_the_pipe(tmp_path):
    assert "| a\\|b |" in shown(by_hand(tmp_path, "a|b").write(), "markdown")


def test_several_orders_have_a_table_each(tmp_path):
    orders = (("seg", "det"), ("det", "seg"))
    folder = plausible(tmp_path, tasks=("seg", "det"), orders=orders, strategies=("naive",)).write()
    for format, mark in (
        ("markdown", "**quickstart: {}**"),
        ("terminal", "quickstart: {}"),
        ("latex", "quickstart: {}"),
    ):
        text = shown(folder, format).replace("$>$", ">")
        assert text.index(mark.format("seg>det")) < text.index(mark.format("det>seg"))
        assert text.count("Drop = (baseline - final) / baseline") == 1


def test_one_task_has_no_mean(tmp_path):
    text = shown(plausible(tmp_path, tasks=("seg",), strategies=("naive",)).write(), "markdown")
    assert "mean drop" not in text


def test_selected_seeds_are_those_named(tmp_path):
    results = read_results(plausible(tmp_path).write()).select(strategies=["kd"], seeds=[2])
    text = render(summary(results), results, "markdown")
    assert "seeds 2;" in text
    assert {row[0] for row in cells(text)} == {"strategy", ":--", "kd", ""}


def test_unknown_format(tmp_path):
    with pytest.raises(UserError, match="unknown table format 'latx'; did you mean 'latex'"):
        shown(by_hand(tmp_path).write(), "latx")


def test_columns_are_chosen_and_strategies_sorted(tmp_path):
    results = read_results(plausible(tmp_path).write())
    text = render(summary(results), results, "markdown", columns=["verdict", "drop"], sort="drop")
    header, _, *lines = [line for line in text.splitlines() if line.startswith("|")]
    assert header == "| strategy | task (metric) | verdict | drop % ↓ [95 %] |"
    means = summary(results).groupby("strategy")["drop"].mean().sort_values()
    assert [line.split("|")[1].strip() for line in lines if line.split("|")[1].strip()] == means.index.tolist()


def test_rows_are_filtered_by_what_holds_of_them(tmp_path):
    results = read_results(plausible(tmp_path).write())
    found = summary(results)
    few = filtered(found, ["drop > 0.05", "task!=cls", "headline=True"])
    expected = found[(found["drop"] > 0.05) & (found["task"] != "cls")]
    assert 0 < len(few) < len(found)
    assert few.equals(expected)
    text = render(few, results, "markdown")
    assert "mean drop" not in text, "a mean of what is left would be another one"
    assert filtered(found, []) is found
    with pytest.raises(UserError, match="points are percentage points: write points<=5"):
        filtered(found, ["points<=5%"])
    assert filtered(found, ["drop>5%"]).equals(found[found["drop"] > 0.05])
    assert filtered(found, ["drop>-500%"]).equals(found[found["drop"] > -5]), (
        "a score may rise to six times what it was"
    )
    fails = found["verdict"].isin(["fail", "fail (uncertain)"])
    assert 0 < fails.sum() > (found["verdict"] == "fail (uncertain)").sum() > 0
    assert filtered(found, ["verdict=fail"]).equals(found[fails])
    assert (filtered(found, ["verdict=fail (uncertain)"])["verdict"] == "fail (uncertain)").all()


def test_what_learns_all_at_once_stores_all(tmp_path):
    folder = plausible(tmp_path, strategies=("naive",), joint=True).write()
    table = summary(read_results(folder))
    assert table.groupby("strategy")["together"].all().to_dict() == {"naive": False, "joint": True}
    stored = {
        line.split(" ")[1]: "| all |" in line for line in shown(folder, "markdown").splitlines() if "seg (" in line
    }
    assert stored == {"naive": False, "joint": True}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("drop", "'drop' is no filter"),
        ("dropp<1", "unknown column 'dropp'; did you mean 'drop'"),
        ("drop<x", "drop holds numbers, and 'x' is none"),
        ("verdict<pass", "verdict holds no numbers"),
        ("drop>99%", "no row of the table has drop>99%"),
        ("drop>9", "drop is a share, at most 1: write drop>9%"),
    ],
)
def test_filters_that_are_wrong(tmp_path, condition, expected):
    found = summary(read_results(plausible(tmp_path).write()))
    with pytest.raises(UserError, match=expected):
        filtered(found, [condition])


def test_what_cannot_be_a_column_or_sorted_by_is_named(tmp_path):
    results = read_results(plausible(tmp_path).write())
    with pytest.raises(UserError, match="unknown column 'verdit'; did you mean 'verdict'"):
        render(summary(results), results, "markdown", columns=["verdit"])
    with pytest.raises(UserError, match="sorted by numbers, and verdict is none"):
        render(summary(results), results, "markdown", sort="verdict")


def clearly(tmp_path, losses):
    """Two tasks, three seeds; of seg a strategy loses its share, which differs by as much as given between seeds."""
    experiment = Experiment(tmp_path, tasks=("seg", "cls"), epochs=1)
    for seed in range(3):
        first = experiment.baseline("seg", seed, [0.4])
        experiment.baseline("cls", seed, [0.8])
        for strategy, (loss, noise) in losses.items():
            scores = {"seg": [0.4 * (1 - loss - noise * (seed - 1))], "cls": [0.8]}
            stage = experiment.stage(f"{strategy}-{seed}", ["cls"], first, scores)
            experiment.run(strategy, ("seg", "cls"), seed, [first, stage])
    results = read_results(experiment.write())
    return summary(results), results


@pytest.mark.parametrize(("format", "bold"), [("markdown", "**"), ("latex", r"\textbf{")])
def test_the_best_and_what_cannot_be_told_from_it_are_bold(tmp_path, format, bold):
    found, results = clearly(tmp_path, {"naive": (0.7, 0.01), "kd": (0.05, 0.01), "ewc": (0.06, -0.05)})
    leading = found[found["task"] == "seg"].set_index("strategy")["leading"].to_dict()
    assert leading == {"naive": False, "kd": True, "ewc": True}
    text = render(found, results, format)
    assert [f"{bold}{drop} " in text for drop in ("5.0", "6.0", "70.0", "0.0")] == [True, True, False, False]


def test_noise_has_no_winner(tmp_path):
    found, _ = clearly(tmp_path, {"naive": (0.1, 0.08), "kd": (0.09, -0.07)})
    assert not found["leading"].any()
    one, _ = clearly(tmp_path / "one", {"naive": (0.1, 0.08)})
    assert not one["leading"].any()


def test_a_missing_value_is_a_dash_and_no_minus_in_latex(tmp_path):
    found, results = clearly(tmp_path, {"naive": (0.1, 0.0)})
    found["forgetting"] = float("nan")
    text = render(found, results, "latex", columns=["forgetting"])
    assert "& -- " in text
    assert "$-$" not in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("what", ["drops", "full", "differences", "baselines", "versions"])
def test_latex_compiles_and_no_table_is_wider_than_the_text(tmp_path, what):
    folder = plausible(
        tmp_path, strategies=("naive", "kd[weight=5,direction=student_teacher]+replay[memory=10]")
    ).write()
    results = read_results(folder)
    if what == "differences":
        text = differences.render(comparison.differences(results), results, "naive", "latex")
    elif what == "baselines":
        text = baselines.render(baseline_table(results), results, "latex")
    elif what == "versions":
        sides = (replace(results, folder=Path(name)) for name in ("a_b", "c%d"))
        text = versions.render(comparison.versions(results, results), *sides, "latex")
    else:
        text = render(summary(results), results, "latex", full=what == "full")
    head = r"\documentclass{article}\usepackage{booktabs,graphicx}"
    (tmp_path / "x.tex").write_text(
        head + r"\begin{document}" + "\n" + text + "\n" + r"\end{document}", encoding="utf-8"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert made.returncode == 0, made.stdout[-2000:]
    assert (tmp_path / "x.pdf").stat().st_size > 10_000
    assert "Missing character" not in made.stdout
    assert "Overfull" not in made.stdout


def test_a_long_name_runs_on_over_the_rows_of_its_strategy() -> None:
    headings = [Heading("strategy", left=True, free=True), Heading("task", left=True)]

    def fronts(name: str, tasks: int) -> list[str]:
        groups = [[[name if place == 0 else "", f"task{place}"] for place in range(tasks)], [["kd", "task0"]]]
        lines = write([Section("", headings, groups)], [], "terminal").splitlines()
        return [line.split("task")[0].strip() for line in lines[2:] if line.strip(" ─")]

    name = "consolidate[labels=0.0,memory=50]"
    assert fronts(name, 3) == ["consolidate", "[labels=0.0,", "memory=50]", "kd"]
    assert fronts(name, 1) == ["consolidate", "[labels=0.0,", "memory=50]", "kd"]
    assert fronts("kd", 2) == ["kd", "", "kd"]


def test_brackets_in_a_title_stay():
    section = Section("e: a>b, against kd[weight=5]", [Heading("strategy", left=True)], [[["naive" * 9]]])
    assert "against kd[weight=5]" in write([section], [], "terminal")


def test_a_narrow_terminal_has_verdicts_in_one_table_and_costs_in_another(tmp_path):
    results = read_results(plausible(tmp_path).write())
    wide, narrow = (render(summary(results), results, "terminal", width=width) for width in (120, 80))
    assert max(map(len, narrow.splitlines())) <= 80
    assert narrow.count("quickstart: seg>det>cls") == 2
    first, second = narrow.split("quickstart: seg>det>cls")[1:]
    verdict = re.compile(r"(?:pass|fail|bonus)(?: \(uncertain\))?(?= |$)", re.MULTILINE)
    lines = len(results.plan.runs)  # three seeds of a strategy, and three tasks
    assert len(verdict.findall(first)) == lines
    assert verdict.findall(first) == verdict.findall(wide)[:lines]
    assert "peak" not in first
    assert "peak" in second


def test_strategies_are_sorted_by_the_mean_drop_that_is_shown():
    rows = [("one", 4.0, 0.1), ("one", 0.1, 0.1), ("two", -4.0, 0.2), ("two", 0.2, 0.2)]  # the first of each is void
    frame = pd.DataFrame(rows, columns=["strategy", "drop", "average_drop"]).assign(headline=True)
    assert ordered(frame.iloc[::-1], "drop")["strategy"].unique().tolist() == ["one", "two"]
