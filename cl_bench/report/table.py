"""The comparison table of a summary, for the terminal, Markdown, LaTeX and CSV."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pandas as pd
from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from cl_bench.errors import unknown

Row = dict[Any, Any]

SCHEDULES = {
    "per_stage": "per_stage (a full cosine in every stage)",
    "total": "total (one cosine over all epochs, so the stages have UNEQUAL learning rates; a baseline has a full one)",
}
DEFINITIONS = (
    "Drop = (baseline - final) / baseline, a ratio of means over seeds, with its 95 % t interval; points = 100 "
    "(baseline - final); same-run = drop from the score right after the task was learnt; stored = images kept of each "
    "past task. Pass: drop ≤ 5 %; bonus: final ≥ baseline; uncertain: one seed, or an interval that holds 5 %; void: "
    "the baseline is less than 0.05 above the trivial score."
)
DROP = "drop % [95 %]"
_COLOURS = {"pass": "green", "bonus": "bold green", "fail": "red", "failed": "bold red", "void": "yellow"}
_LATEX = {char: f"\\{char}" for char in "&%$#_{}"} | {
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"},
    **{"†": r"$\dagger$", "≤": r"$\le$", "≥": r"$\ge$", "|": r"\textbar{}", "[": "{[}", "]": "{]}"},
}


class Column(NamedTuple):
    """A column: header, a row's cell, whether it stands once a strategy, whether only the full table has it."""

    header: str
    cell: Callable[[Row], str]
    once: bool = False
    full: bool = False


def render(
    summary: pd.DataFrame, plan: Row, format: str, *, full: bool = False, width: int = 120, colour: bool = False
) -> str:
    """Return the table of `summary` (see `results.summary`) with the notes without which it cannot be read.

    format: "terminal", "markdown", "latex" (booktabs) or "csv" (raw numbers, every column, a line a task); full: also
    forgetting, backward transfer, intransigence and what a strategy adds (in the terminal as a second table); width: of
    the terminal, in characters; colour: with the terminal's colour codes. Raises UserError for another format.
    """
    if format == "csv":
        return _csv(summary, plan)
    columns = [column for column in COLUMNS if full or not column.full]
    if format == "terminal":
        return _terminal(summary, plan, columns, width, colour)
    if format == "markdown":
        return _markdown(summary, plan, columns)
    if format == "latex":
        return _latex(summary, plan, columns)
    raise unknown("table format", format, ("terminal", "markdown", "csv", "latex"))


def notes(summary: pd.DataFrame, plan: Row) -> list[str]:
    """Return what a reader of the table must know: protocol, trivial scores, environment, failures, definitions."""
    settings, origin = plan.get("settings", {}), plan.get("provenance", {})
    schedule = str(settings.get("schedule", "unknown"))
    seeds = ", ".join(map(str, summary.attrs["seeds"]))
    lines = [f"{plan['experiment']}: seeds {seeds}; schedule {SCHEDULES.get(schedule, schedule)}."]
    lines += [
        f"{task['name']}: {task['kind']}, {task['metrics'][0]}, predictor {task['predictor']}, "
        f"{task['classes']} classes, {task['train_images']}/{task['val_images']} images, {task['epochs']} epochs at "
        f"{task['image_size']} px, trivial {task['trivial']:.3f}."
        for task in plan["tasks"]
    ]
    if settings.get("split") == "dev":
        lines.append("Scored on dev, a quarter of train that was split off; val was not looked at.")
    lines.append(f"Model: {_count(summary['parameters'].max())} parameters; {_added(summary)}.")
    lines.append(DEFINITIONS)
    environment = summary.attrs["environment"]
    mixed = [f"{field} {' | '.join(values)}" for field, values in environment.items() if len(values) > 1]
    if mixed:
        lines.append(f"† WARNING: these rows mix environments: {'; '.join(mixed)}.")
    lines += [f"Failed stage {key[:12]}: {reason}." for key, reason in summary.attrs["failures"].items()]
    made = [f"{what} {origin[what]}" for what in ("commit", "machine", "version") if origin.get(what)]
    fields = ("processor", "device", "precision", "threads", "torch")
    made += [f"{field} {environment[field][0]}" for field in fields if len(environment[field]) == 1]
    return [*lines, f"Made with {', '.join(made)}."]


def blocks(summary: pd.DataFrame, columns: list[Column]) -> Iterator[tuple[str, list[list[list[str]]]]]:
    """Yield each order with its cells: a group of lines a strategy, the last one the mean of its drops."""
    headline = summary[summary["headline"]]
    headline.attrs = {}  # pandas copies the whole plan with every part of a table that it takes
    for order, part in headline.groupby("order", sort=False):
        groups = []
        for _, rows in part.groupby("strategy", sort=False):
            records = rows.to_dict("records")
            lines = [
                ["" if column.once and index else column.cell(dict(row)) for column in columns]
                for index, row in enumerate(records)
            ]
            if len(records) > 1 and any(column.header == DROP for column in columns):
                lines.append([_average(records[0], len(records)).get(column.header, "") for column in columns])
            groups.append(lines)
        yield str(order), groups


def _average(row: Row, tasks: int) -> Row:
    part = "" if row["averaged"] == tasks else f"{row['averaged']} of {tasks} tasks"
    return {"task (metric)": "mean drop", DROP: _percent(row["average_drop"]), "verdict": part}


def _number(value: float, places: int = 3, factor: float = 1, sign: str = "") -> str:
    if math.isnan(value):
        return "-"
    return f"{round(factor * value, places) + 0.0:{sign}.{places}f}"  # + 0.0 turns -0.0 into 0.0


def _percent(value: float) -> str:
    return _number(value, 1, 100)


def _count(value: float) -> str:
    return "-" if math.isnan(value) else f"{int(value):,}"


def _drop(row: Row) -> str:
    ends = "" if math.isnan(row["drop_low"]) else f" [{_percent(row['drop_low'])}, {_percent(row['drop_high'])}]"
    return _percent(row["drop"]) + ends


def _verdict(row: Row) -> str:
    partly = f" {row['seeds']}/{row['planned_seeds']} seeds" if row["status"] != "done" else ""
    return (row["verdict"] or row["status"]) + partly + (" †" if row["mixed_environment"] else "")


def _added(summary: pd.DataFrame) -> str:
    adding = summary[(summary["added_parameters"] > 0) | (summary["added_passes"] > 0)].drop_duplicates("strategy")
    added = [
        f"{row['strategy']} adds {_count(row['added_parameters'])} parameters and {_count(row['added_passes'])} passes"
        for row in adding.to_dict("records")
    ]
    return "; ".join(added) or "no strategy adds parameters or forward passes"


COLUMNS = (
    Column("strategy", lambda row: str(row["strategy"]), once=True),
    Column("task (metric)", lambda row: f"{row['task']} ({row['metric']})"),
    Column("baseline", lambda row: _number(row["baseline"])),
    Column("final", lambda row: _number(row["final"])),
    Column(DROP, _drop),
    Column("points", lambda row: _number(row["points"], 1)),
    Column("same-\nrun %", lambda row: _percent(row["same_run_drop"])),
    Column("forgetting\n(max - last)", lambda row: _number(row["forgetting"]), full=True),
    Column("backward\ntransfer", lambda row: _number(row["backward_transfer"], sign="+"), full=True),
    Column("intransigence", lambda row: _number(row["intransigence"], sign="+"), full=True),
    Column("verdict", _verdict),
    Column("stored", lambda row: _count(row["stored_images"]), once=True),
    Column("train\ns", lambda row: _number(row["train_seconds"], 0), once=True),
    Column("x\nnaive", lambda row: _number(row["relative_cost"], 2), once=True),
    Column("peak\nMB", lambda row: _number(row["peak_memory_mb"], 0), once=True),
    Column("added\nparameters", lambda row: _count(row["added_parameters"]), once=True, full=True),
    Column("added\npasses", lambda row: _count(row["added_passes"]), once=True, full=True),
)
_LEFT = ("strategy", "task (metric)", "verdict")


def _terminal(summary: pd.DataFrame, plan: Row, columns: list[Column], width: int, colour: bool) -> str:
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=colour, no_color=not colour, highlight=False)
    parts = [[column for column in columns if not column.full]]
    if further := [column for column in columns if column.full]:
        parts.append([*columns[:2], *further])
    for part in parts:
        for order, groups in blocks(summary, part):
            console.print(_rich(f"{plan['experiment']}: {order}", part, groups, wrap=width < 110), "")
    for note in notes(summary, plan):
        console.print(Text(note, style="dim"))
    return text.getvalue()


def _rich(title: str, columns: list[Column], groups: list[list[list[str]]], wrap: bool) -> Table:
    table = Table(box=box.HORIZONTALS, pad_edge=False, padding=0, show_edge=False, title=title)
    for column in columns:
        side: JustifyMethod = "left" if column.header in _LEFT else "right"
        free = wrap or column.header == "strategy"  # a strategy's settings may be of any length
        table.add_column(column.header, justify=side, no_wrap=not free, overflow="fold", min_width=9 if free else None)
    for group in groups:
        for index, line in enumerate(group):
            cells = [Text(cell, style=_COLOURS.get(cell.partition(" ")[0], "")) for cell in line]
            table.add_row(*cells, end_section=index == len(group) - 1)
    return table


def _markdown(summary: pd.DataFrame, plan: Row, columns: list[Column]) -> str:
    lines = []
    for order, groups in blocks(summary, columns):
        lines += [f"**{plan['experiment']}: {order}**", ""]
        heads = [_one_line(column.header) for column in columns]
        lines += [_piped(heads), _piped([":--" if head in _LEFT else "--:" for head in heads])]
        lines += [_piped(line) for group in groups for line in group] + [""]
    return "\n".join([*lines, *(f"- {note}" for note in notes(summary, plan)), ""])


def _one_line(header: str) -> str:
    return header.replace("-\n", "-").replace("\n", " ")


def _piped(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _latex(summary: pd.DataFrame, plan: Row, columns: list[Column]) -> str:
    lines = [r"% needs \usepackage{booktabs}"]
    for order, groups in blocks(summary, columns):
        title = _escape(f"{plan['experiment']}: {order}")
        lines += [r"\begin{table}", r"\centering\footnotesize", rf"\caption{{{title}}}", r"\setlength{\tabcolsep}{3pt}"]
        lines.append(rf"\begin{{tabular}}{{{''.join('l' if c.header in _LEFT else 'r' for c in columns)}}}")
        lines += [r"\toprule", _row([_one_line(column.header) for column in columns])]
        for group in groups:
            lines += [r"\midrule", *map(_row, group)]
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    below = _escape(" ".join(notes(summary, plan)))
    lines[-2:-2] = [rf"\par\smallskip\parbox{{\linewidth}}{{\scriptsize {below}}}"]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    minus = [re.sub(r"(?<!\w)-(?=\d|$)", "$-$", _escape(cell)) for cell in cells]
    return " & ".join(minus) + r" \\"


def _escape(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in text)


def _csv(summary: pd.DataFrame, plan: Row) -> str:
    tasks = {task["name"]: task for task in plan["tasks"]}
    table = summary.copy()
    table.insert(0, "experiment", plan["experiment"])
    table["schedule"] = plan.get("settings", {}).get("schedule", "")
    for field in ("epochs", "image_size", "train_images", "val_images"):
        table[field] = [tasks[name][field] for name in table["task"]]
    for field in ("commit", "machine", "version"):
        table[field] = plan.get("provenance", {}).get(field, "")
    return table.to_csv(index=False, lineterminator="\n")
