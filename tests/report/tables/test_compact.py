"""The compact table: a row a strategy, in every format and at every width."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import Experiment, plausible

from cl_bench.errors import UserError
from cl_bench.report.tables import costs, drops
from cl_bench.report.tables.compact import Cell, Compact, Row, Task, compact, render
from cl_bench.results.rows import read_results
from cl_bench.results.summary import summary

pytestmark = pytest.mark.usefixtures("own_results")

SEG = Cell(0.15, 0.7, 0.19, 1.21, "fail", leading=True)
DET = Cell(0.61, 0.04, -0.05, 0.13, "pass", uncertain=True)
CLS = Cell(0.85, -0.0625, -0.22, 0.096, "bonus", uncertain=True)
VOID = Cell(0.11, 0.9, math.nan, math.nan, "void")
TASKS = (Task("seg", "mIoU", 0.5), Task("det", "AP50", 0.635), Task("cls", "Top-1", 0.8))


def table(*rows: Row, tasks: tuple[Task, ...] = TASKS, seeds: int = 3) -> Compact:
    order = tuple(task.name for task in tasks)
    return Compact("quickstart", order, "test", seeds, tasks, rows, cost="FLOPs")


def naive(*cells: Cell | None, mean: float = 0.226) -> Row:
    return Row("naive", cells or (SEG, DET, CLS), mean, 1.0)


def lines(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(name))


def cells(text: str, name: str) -> list[str]:
    row = next(line for line in text.splitlines() if line.startswith(f"| {name}"))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_what_a_summary_says_is_in_the_row(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path, tasks=("seg", "cls"), epochs=1)
    for seed, alone, lost, end in ((0, 0.4, 0.1, 0.84), (1, 0.6, 0.2, 0.86)):
        first = experiment.baseline("seg", seed, [alone])
        experiment.baseline("cls", seed, [0.8])
        second = experiment.stage(f"second-{seed}", ["cls"], first, {"seg": [lost], "cls": [end]}, 150.0, 10, 1)
        experiment.run("naive", ("seg", "cls"), seed, [first, second])
    results = read_results(experiment.write())
    (found,) = compact(summary(results), results)
    (row,) = found.rows
    assert (found.order, found.part, found.seeds, found.cost) == (("seg", "cls"), "validation", 2, "time")
    assert [(task.name, task.metric, task.baseline) for task in found.tasks] == [
        ("seg", "mIoU", pytest.approx(0.5)),
        ("cls", "Top-1", pytest.approx(0.8)),
    ]
    seg, cls = row.cells
    assert seg is not None
    assert cls is not None
    assert (seg.state, seg.uncertain, cls.state, cls.uncertain) == ("fail", False, "bonus", True)
    assert (seg.final, seg.drop, cls.drop) == pytest.approx((0.15, 0.7, -0.0625))
    assert (row.mean, row.cost) == pytest.approx((0.31875, 1.0))
    assert found.worst(row) == (pytest.approx(0.7), "seg")


def test_a_row_by_hand_in_markdown() -> None:
    text = render(table(naive()), "markdown")
    assert cells(text, "strategy") == [
        *("strategy", "seg mIoU ↑", "drop % ↓", "det AP50 ↑", "drop % ↓", "cls Top-1 ↑", "drop % ↓"),
        *("mean drop % ↓", "worst drop % ↓", "FLOPs x naive"),
    ]
    assert cells(text, r"\*baseline"[1:]) == ["*baseline*", ".500", "", ".635", "", ".800", "", "", "", ""]
    expected = ["naive", ".150", "**70.0** ✗", ".610", "4.0 ✓?", ".850", "-6.2 +?", "22.6", "70.0 seg", "1.00"]
    assert cells(text, "naive") == expected
    assert text.startswith("**quickstart: seg > det > cls, test part, 3 seeds**\n")
    for meaning in ("✓ pass (drop ≤ 5 %)", "✗ fail", "+ at or above baseline", "? uncertain", "bold: the least drop"):
        assert meaning in text
    assert "∅" not in text, "signs that do not occur are not explained"


def test_a_void_task_is_marked_and_counts_in_no_worst_drop() -> None:
    found = table(naive(VOID, DET, CLS))
    assert found.worst(found.rows[0]) == (0.04, "det")
    text = render(found, "terminal")
    assert "90.0 ∅" in text
    assert "∅ void (baseline near trivial, in no mean)" in text
    nothing = table(naive(VOID, VOID, VOID, mean=math.nan))
    assert math.isnan(nothing.worst(nothing.rows[0])[0])
    assert cells(render(nothing, "markdown"), "naive")[-3:] == ["-", "-", "1.00"]


def test_one_seed_is_said_with_the_question_mark() -> None:
    assert "? uncertain (one seed)" in render(table(naive(), seeds=1), "terminal")
    assert "(one seed)" not in render(table(naive()), "terminal")


def test_intervals_are_shown_where_there_is_room() -> None:
    wide, narrow = (render(table(naive()), "terminal", width) for width in (120, 80))
    assert "70.0 [19, 121] ✗ " in lines(wide, "naive")
    assert "4.0 [-5, 13] ✓?" in lines(wide, "naive")
    assert "70.0 ✗" in lines(narrow, "naive")
    assert "[" not in lines(narrow, "naive")
    assert "95 %" not in narrow


def test_what_has_no_room_is_left_out_in_turn_and_never_cut_off() -> None:
    def finals(text: str) -> bool:
        return ".150" in text

    def blocks(text: str) -> int:
        return text.count("─\n")

    texts = {width: render(table(naive()), "terminal", width) for width in range(40, 121)}
    for width, text in texts.items():
        assert max(map(len, text.splitlines())) <= width
        for said in ("70.0", "4.0", "-6.2", "70.0 seg", "22.6", "1.00"):
            assert said in text
    shown = {width: ("[19, 121]" in text, finals(text), blocks(text)) for width, text in texts.items()}
    assert (shown[120], shown[80], shown[70]) == ((True, True, 1), (False, True, 1), (False, False, 1))
    assert (shown[60], shown[40]) == ((True, True, 2), (True, True, 4))


def test_where_nothing_fits_all_is_there_nonetheless() -> None:
    text = render(table(naive()), "terminal", 12)
    assert "70.0 seg" in text
    assert text.count("─\n") == 4


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("count", [3, 5])
def test_no_line_is_longer_than_the_width(width: int, count: int) -> None:
    tasks = (*TASKS, Task("kpt", "PCK@0.1", 0.114), Task("noisy", "Top-1", 0.6))[:count]
    row = (SEG, DET, CLS, VOID, CLS)[:count]
    names = ("naive", "kd[direction=student_teacher]+replay", "consolidate[labels=0.0]", "a_rather_long_name_of_it")
    text = render(table(*(replace(naive(*row), strategy=name) for name in names), tasks=tasks), "terminal", width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("seg (mIoU)") == text.count("mean") == 1 or "in no mean" in text
    whole = "".join(text.split())
    assert all(re.sub(r"\[.*\]", "", name) in whole for name in names[:3])


def test_a_long_name_leaves_its_settings_to_the_legend_where_it_stays_distinct() -> None:
    settings = "kd[direction=student_teacher]+replay"
    rows = [replace(naive(), strategy=name) for name in ("naive", settings)]
    text = render(table(*rows), "terminal", 80)
    assert lines(text, "kd+replay*")
    assert f"* {settings}" in text.splitlines()
    assert settings in lines(render(table(*rows, seeds=1), "terminal", 140), settings)
    both = [replace(naive(), strategy=f"kd[direction={name}_of_the_teacher]") for name in ("student", "pupil")]
    shown = "".join(line[:9].strip() for line in render(table(*both), "terminal", 80).splitlines()[4:])
    assert "student_" in shown
    assert "pupil_" in shown
    assert "*" not in shown


def test_colour_is_of_verdicts_and_keeps_the_columns() -> None:
    coloured, plain = (render(table(naive()), "terminal", colour=colour) for colour in (True, False))
    assert "\x1b[31m ✗" in coloured
    assert "\x1b[1m70.0" in coloured
    assert "bold: the least drop" in coloured
    assert "bold" not in plain
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert lines(bare, "naive") == lines(plain, "naive")


def test_latex_groups_its_columns_and_resizes_nothing() -> None:
    text = render(table(naive()), "latex")
    assert r"\multicolumn{2}{c}{seg (mIoU)} & \multicolumn{2}{c}{det (AP50)}" in text
    assert r"\cmidrule(lr){2-3}\cmidrule(lr){4-5}\cmidrule(lr){6-7}" in text
    assert "resizebox" not in text
    drops_of = r"\textbf{70.0}\textsuperscript{$\times$} & .610 & 4.0\textsuperscript{$\checkmark$?}"
    assert rf"naive & .150 & {drops_of} & .850 & $-$6.2\textsuperscript{{+?}} & 22.6 & 70.0 seg & 1.00 \\" in text
    noted = render(table(naive()), "latex", notes=["Made with 100 % care."])
    assert noted.splitlines()[1] == "% Made with 100 % care."
    braces = re.sub(r"\\\\|\\[{}]", "", text)
    assert braces.count("{") == braces.count("}")


def test_names_are_escaped() -> None:
    odd = "a_b&c%d<e|f"
    found = table(replace(naive(), strategy=odd), tasks=(Task("s_g<", "m&m", 0.5), *TASKS[1:]))
    latex, markdown, html = (render(found, format) for format in ("latex", "markdown", "html"))
    assert r"a\_b\&c\%d$<$e\textbar{}f & " in latex
    assert r"s\_g$<$ (m\&m)" in latex
    assert r"| a_b&c%d\<e\|f |" in markdown
    assert "a_<wbr>b&amp;c%d&lt;e|f" in html
    assert "s_g&lt; (m&amp;m)" in html
    assert re.findall(r"<(?!/?(?:table|caption|thead|tbody|tr|th|td|p|b|span|wbr)\b)", html) == []


def test_html_has_headings_over_groups_and_words_behind_signs() -> None:
    text = render(table(naive()), "html")
    assert '<th colspan="2" scope="colgroup">seg (mIoU)</th>' in text
    assert '<b>70.0 [19, 121]</b> <span class="fail" title="fail">✗</span>' in text
    assert '<span class="pass" title="pass (uncertain)">✓?</span>' in text
    assert '<tr class="baseline"><th scope="row">baseline</th><td>.500</td>' in text


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    experiment = plausible(tmp_path, strategies=("naive", "kd", "replay"))
    folder = experiment.write(
        failed=["kd-seg-det-1"], without=["kd-seg-det-cls-1", *(f"replay-seg-det-cls-{seed}" for seed in (0, 1, 2))]
    )
    results = read_results(folder)
    text = render(compact(summary(results), results), "markdown")
    assert "- kd: failed, 2 of 3 seeds" in text
    assert "- replay: incomplete, 0 of 3 seeds" in text
    assert "! not finished" in text
    assert cells(text, "replay")[1:3] == ["-", "- !"]


def test_mixed_environments_are_marked(tmp_path: Path) -> None:
    experiment = plausible(tmp_path, strategies=("naive", "kd"))
    experiment.environments["kd-seg-det-1"] = {"processor": "Other CPU"}
    results = read_results(experiment.write())
    text = render(compact(summary(results), results), "markdown")
    assert cells(text, "kd")[0] == "kd †"
    assert "† ran in different environments" in text


def test_stages_without_a_test_score_are_told_of(tmp_path: Path) -> None:
    experiment = plausible(tmp_path, strategies=("naive",), seeds=(0, 1)).add_tests(unscored=["naive-seg-det-cls-1"])
    results = read_results(experiment.write())
    text = render(compact(summary(results), results), "terminal")
    assert "test part, 2 seeds" in text
    assert "1 stage is not scored on the test part: cl-bench rescore quickstart, or run." in text


def test_each_order_has_a_table_and_all_have_one_legend(tmp_path: Path) -> None:
    orders = (("seg", "det"), ("det", "seg"))
    results = read_results(plausible(tmp_path, tasks=("seg", "det"), orders=orders, strategies=("naive",)).write())
    found = compact(summary(results), results)
    assert [one.order for one in found] == list(orders)
    for format in ("terminal", "markdown", "html"):
        text = render(found, format).replace("&gt;", ">")
        assert text.index("seg > det,") < text.index("det > seg,")
        assert text.count("% of the baseline that is lost") == 1


def test_one_task_has_neither_mean_nor_worst() -> None:
    text = render(table(naive(SEG), tasks=TASKS[:1]), "markdown")
    assert cells(text, "strategy") == ["strategy", "seg mIoU ↑", "drop % [95 %] ↓", "FLOPs x naive"]


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UserError, match="unknown table format 'latx'; did you mean 'latex'"):
        render(table(naive()), "latx")


def test_costs_have_a_row_a_strategy(tmp_path: Path) -> None:
    results = read_results(plausible(tmp_path, strategies=("naive", "kd")).write())
    text = costs.render(summary(results), results, "markdown", notes=["Noted."])
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:] == ["naive", "kd"]
    assert "| strategy | stored | train s | x naive | peak MB |" in text
    assert "- Noted." in text
    assert "(drop" not in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("count", [3, 5])
def test_latex_compiles_and_fits_the_text(tmp_path: Path, count: int) -> None:
    tasks = (*TASKS, Task("k_t", "PCK@0.1", 0.114), Task("noisy", "Top-1", 0.6))[:count]
    row = (SEG, DET, CLS, VOID, CLS)[:count]
    names = ("naive", "kd[direction=student_teacher]+replay", "a_rather_long_name_of_it")
    rows = (replace(naive(*row), strategy=name) for name in names)
    text = render(table(*rows, tasks=tasks), "latex", notes=["50 % noted & so on."])
    head = r"\documentclass{article}\usepackage{amssymb,booktabs}\begin{document}"
    (tmp_path / "x.tex").write_text(f"{head}\n{text}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert made.returncode == 0, made.stdout[-2000:]
    assert "Missing character" not in made.stdout
    assert "Overfull" not in made.stdout


def test_notes_stand_below_and_take_the_place_of_hints(tmp_path: Path) -> None:
    results = read_results(plausible(tmp_path).write())
    found = summary(results)
    without, noted = (
        render(compact(found, results), "terminal", 80, notes=notes) for notes in ((), drops.notes(found, results))
    )
    assert without.splitlines()[-1].startswith("cl-bench table: --costs")
    assert "cl-bench table: --costs" not in noted
    assert "Made with commit abc1234" in noted
    assert max(map(len, noted.splitlines())) <= 80
