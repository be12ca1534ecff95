"""The long table of a summary, a row a strategy and task: for the terminal, Markdown, LaTeX, HTML and CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cl_bench.errors import UserError, unknown_name_error
from cl_bench.report.tables.everything import everything
from cl_bench.report.tables.layout import NARROW, Bold, Heading, Section, write
from cl_bench.report.tables.power import settled_by
from cl_bench.report.text import count, interval, number, percent
from cl_bench.results import parts
from cl_bench.results.plan_file import PlannedTask
from cl_bench.results.rows import Results
from cl_bench.results.summary import environments

Row = dict[Any, Any]

SCHEDULES = {
    "per_stage": "per_stage (a full cosine in every stage)",
    "total": "total (one cosine over all epochs, so the stages have UNEQUAL learning rates; a baseline has a full one)",
}
OF_COSTS = (
    "train s and x naive: wall time, which other work on the machine lengthens; FLOPs: floating-point operations of "
    "training (convolutions and matrix products), which nothing else changes"
)
DEFINITIONS = (
    "Drop = (baseline - final) / baseline, a ratio of means over seeds, with its 95 % interval over seeds and images "
    "(over seeds alone where no resamples of the images are kept); % points = percentage points, 100 (baseline - "
    "final); same-run = drop from the score right after the task was learnt; stored = images kept of each past task; "
    f"{OF_COSTS}. Pass: drop ≤ 5 %; bonus: final ≥ "
    "baseline; uncertain: one seed, or an interval that holds the word's border (5 % for pass and fail, 0 for bonus); "
    "void: the baseline is less than 0.05 above the trivial score. Bold: the smallest drop of a task, that of joint "
    "training aside, and those that cannot be told from it (95 % interval of the difference); nothing is bold where "
    "none can be told apart."
)
DROP = "drop % ↓\n[95 %]"
_COLOURS = {"pass": "green", "bonus": "bold green", "fail": "red", "failed": "bold red", "void": "yellow"}


class Column(NamedTuple):
    """A column: header, the summary's field it is of, a row's cell; once: a strategy; full: in the full table only."""

    header: str
    field: str
    cell: Callable[[Row], str]
    once: bool = False
    full: bool = False


def render(
    summary: pd.DataFrame,
    results: Results,
    format: str,
    *,
    full: bool = False,
    columns: Sequence[str] = (),
    sort: str = "",
    width: int = 120,
    colour: bool = False,
) -> str:
    """Return the table of a summary of `results` (see `summary.summary`) with what it cannot be read without.

    format: "terminal", "markdown", "latex" (booktabs), "html" or "csv" (raw numbers, every column, a line a task);
    full: also forgetting, backward transfer, intransigence and what a strategy adds (in the terminal as a second
    table, in a narrow one costs, too); columns: these fields of the summary alone, beside strategy and task; sort:
    strategies by their mean in this field, smallest first; width: of the terminal, in characters; colour: with the
    terminal's colour codes. Raises UserError for another format or column.
    """
    summary = ordered(summary, sort)
    if format == "csv":
        return everything(summary, results).to_csv(index=False, lineterminator="\n")
    if columns:
        tables = [list(dict.fromkeys([*COLUMNS[:2], *map(_column, columns)]))]
    else:
        known = [column for column in known_columns(summary) if full or not column.full]
        tables = _fitted(known, width) if format == "terminal" else [known]
    sections = [
        Section(f"{results.plan.experiment}: {order}{parts.suffix(results)}", list(map(_heading, table)), groups)
        for table in tables
        for order, groups in blocks(summary, table)
    ]
    return write(sections, notes(summary, results), format, width=width, styles=_COLOURS, colour=colour)


def _fitted(columns: list[Column], width: int) -> list[list[Column]]:
    """Return the columns of the tables below each other that a terminal needs, each with strategy and task."""
    common, plain = columns[:2], [c for c in columns[2:] if not c.full]
    chance = [c for c in columns if c.field in _CHANCE]
    tables = [plain, chance, [c for c in columns if c.full and c not in chance]]
    if width < NARROW:
        verdict = ("baseline", "final", "drop", "verdict")
        tables[:1] = [[c for c in plain if c.field in verdict], [c for c in plain if c.field not in verdict]]
    return [[*common, *table] for table in tables if table]


def known_columns(summary: pd.DataFrame) -> list[Column]:
    """Return the columns, without the rare ones of which nothing is known."""
    return [column for column in COLUMNS if column.field not in _RARE or summary[column.field].notna().any()]


def _column(field: str) -> Column:
    found = next((column for column in COLUMNS if column.field == field), None)
    if found is None:
        raise unknown_name_error("column", field, [column.field for column in COLUMNS])
    return found


def ordered(summary: pd.DataFrame, sort: str) -> pd.DataFrame:
    """Return a summary with its strategies by their mean in the field `sort`, smallest first; as it is where empty."""
    if not sort:
        return summary
    field = _column(sort).field
    if not pd.api.types.is_numeric_dtype(summary[field]):
        raise UserError(f"strategies are sorted by numbers, and {field} is none")
    headline = summary[summary["headline"]]
    # The mean drop that is shown leaves out tasks whose drop means nothing.
    means = headline.groupby("strategy")["average_drop" if field == "drop" else field].mean()
    return summary.sort_values("strategy", key=lambda names: names.map(means), kind="stable")


def _heading(column: Column) -> Heading:
    # A strategy's settings may be of any length.
    return Heading(column.header, left=column.header in _LEFT, free=column.header == "strategy")


def notes(summary: pd.DataFrame, results: Results) -> list[str]:
    """Return what a reader of the table must know: part, protocol, trivial scores, environment, failures, words."""
    passes = summary["multiply_adds"].max()  # nan where older results do not tell
    work = "" if np.isnan(passes) else f", {passes / 1e9:.2f} billion multiply-adds for an image"
    model = f"Model: {count(summary['parameters'].max())} parameters{work}; {_added(summary)}."
    protocol = [*parts.notes(results), *protocol_notes(results, results.seeds)]
    return [*protocol, model, DEFINITIONS, *_settling(summary), *origin_notes(results)]


def _settling(summary: pd.DataFrame) -> list[str]:
    """Return a sentence on what would settle the verdicts that are uncertain."""
    judged = summary[summary["headline"] & (summary["verdict"] != "")]
    open_ones = judged[judged["verdict"].str.endswith("(uncertain)")]
    if open_ones.empty:
        return []
    said = f"{len(open_ones)} of {len(judged)} verdicts are uncertain"
    if (open_ones["seeds"] < 2).all():
        return [f"{said}: of one seed nothing is known of others."]
    seeds, images = (np.isfinite(open_ones[f"settling_{by}"]).sum() for by in ("seeds", "images"))
    return [f"{said}; more seeds alone would settle {seeds} of them, more images alone {images} (cl-bench power)."]


def protocol_notes(results: Results, seeds: Sequence[int]) -> list[str]:
    """Return how an experiment was done, a line a task that is learnt in it, and what flatters it."""
    results, plan = results.of(), results.plan
    schedule = str(plan.settings.get("schedule", "unknown"))
    lines = [f"{plan.experiment}: seeds {', '.join(map(str, seeds))}; schedule {SCHEDULES.get(schedule, schedule)}."]
    for task in plan.learnt:
        sizes = [task.train_images, task.val_images, *([task.test.images] if task.test else [])]
        lines.append(
            f"{task.name}: {task.kind}, {task.headline}, predictor {task.predictor}, "
            f"{task.classes} classes, {'/'.join(map(str, sizes))} images, {task.epochs} epochs at "
            f"{task.image_size} px, trivial {results.trivial(task):.3f}."
        )
        lines += _few_examples(task, results) if results.split == "test" else []
    return lines


def _few_examples(task: PlannedTask, results: Results) -> list[str]:
    """Return which classes a test part has too few of, and by how much so few images flatter the headline metric."""
    lines, name, test = [], task.name, task.test
    if test is None:
        return []
    if test.weakness:
        lines.append(f"{name}: {test.weakness}.")
    excess = results.excess.get(name, 0.0)
    if abs(excess) >= 0.0005:
        side = f"{number(abs(excess))} {'above' if excess > 0 else 'below'}"
        few = f"{name}: the baseline's {task.headline} on {test.images:,} images"
        lines.append(f"{few} is expected to lie {side} that on many.")
    return lines


def origin_notes(results: Results) -> list[str]:
    """Return what ran where: mixed environments, failures, commit and machine."""
    environment, origin = environments(results.costs.values()), results.plan.provenance
    lines = []
    mixed = [f"{field} {' | '.join(values)}" for field, values in environment.items() if len(values) > 1]
    if mixed:
        lines.append(
            f"† WARNING: these rows mix environments: {'; '.join(mixed)}."
            " Their times cannot be compared; scores have equal bits where only machines of one processor type differ."
        )
    lines += [f"Failed stage {key[:12]}: {reason}." for key, reason in results.failures.items()]
    made = [f"{what} {origin[what]}" for what in ("commit", "machine", "version") if origin.get(what)]
    fields = ("processor", "device", "precision", "threads", "torch")
    known = {field: environment[field][0] for field in fields if len(environment[field]) == 1}
    if str(origin.get("machine")).startswith(f"{known.get('processor')},"):
        del known["processor"]
    made += [f"{field} {value}" for field, value in known.items()]
    added = f"; added to what was made with {origin['added_to']}" if "added_to" in origin else ""
    return [*lines, f"Made with {', '.join(made)}{added}."]


def blocks(summary: pd.DataFrame, columns: list[Column]) -> Iterator[tuple[str, list[list[list[str]]]]]:
    """Yield each order with its cells: a group of lines a strategy, the last one the mean of its drops."""
    headline = summary[summary["headline"]]
    for order, part in headline.groupby("order", sort=False):
        groups = []
        for _, rows in part.groupby("strategy", sort=False):
            records = rows.to_dict("records")
            lines = [
                ["" if column.once and index else column.cell(dict(row)) for column in columns]
                for index, row in enumerate(records)
            ]
            whole = 1 < len(records) == len(set(str(order).split(">")))  # not where rows were filtered out
            if whole and any(column.header == DROP for column in columns):
                lines.append([_average(records[0], len(records)).get(column.header, "") for column in columns])
            groups.append(lines)
        yield str(order), groups


def _average(row: Row, tasks: int) -> Row:
    part = "" if row["averaged"] == tasks else f"{row['averaged']} of {tasks} tasks"
    return {"task (metric)": "mean drop", DROP: percent(row["average_drop"]), "verdict": part}


def _drop(row: Row) -> str:
    cell = percent(row["drop"]) + interval(row["drop_low"], row["drop_high"])
    return Bold(cell) if row["leading"] else cell


def _stored(row: Row) -> str:
    return "all" if row["together"] else count(row["stored_images"])


def _petaflops(row: Row) -> str:
    return "-" if np.isnan(row["training_flops"]) else f"{row['training_flops'] / 1e15:.3g}"


def _lowest(row: Row) -> str:
    return f"{number(row['lowest'])} ({number(row['stability_gap'], 2)})"


def _verdict(row: Row) -> str:
    partly = f" {row['seeds']}/{row['planned_seeds']} seeds" if row["status"] != "done" else ""
    return (row["verdict"] or row["status"]) + partly + (" †" if row["mixed_environment"] else "")


def _added(summary: pd.DataFrame) -> str:
    adding = summary[(summary["added_parameters"] > 0) | (summary["added_passes"] > 0)].drop_duplicates("strategy")
    added = [
        f"{row['strategy']} adds {count(row['added_parameters'])} parameters and {count(row['added_passes'])} passes"
        for row in adding.to_dict("records")
    ]
    return "; ".join(added) or "no strategy adds parameters or forward passes"


COLUMNS = (
    Column("strategy", "strategy", lambda row: str(row["strategy"]), once=True),
    Column("task (metric)", "task", lambda row: f"{row['task']} ({row['metric']})"),
    Column("baseline", "baseline", lambda row: number(row["baseline"])),
    Column("final ↑", "final", lambda row: number(row["final"])),
    Column(DROP, "drop", _drop),
    Column("%\npoints", "points", lambda row: number(row["points"], 1)),
    Column("same-\nrun %", "same_run_drop", lambda row: percent(row["same_run_drop"])),
    Column("forgetting\n(max - last)", "forgetting", lambda row: number(row["forgetting"]), full=True),
    Column(
        "backward\ntransfer", "backward_transfer", lambda row: number(row["backward_transfer"], sign="+"), full=True
    ),
    Column("intransigence", "intransigence", lambda row: number(row["intransigence"], sign="+"), full=True),
    Column("lowest\n(gap)", "stability_gap", _lowest, full=True),
    Column("verdict", "verdict", _verdict),
    Column("sd by\nseeds", "seeds_deviation", lambda row: percent(row["seeds_deviation"]), full=True),
    Column("sd by\nimages", "images_deviation", lambda row: percent(row["images_deviation"]), full=True),
    Column("settled\nby seeds", "settling_seeds", lambda row: settled_by(row, "seeds"), full=True),
    Column("settled\nby images", "settling_images", lambda row: settled_by(row, "images"), full=True),
    Column("stored", "stored_images", _stored, once=True),
    Column("train\ns", "train_seconds", lambda row: number(row["train_seconds"], 0), once=True),
    Column("x\nnaive", "relative_cost", lambda row: number(row["relative_cost"], 2), once=True),
    Column("FLOPs\nx naive", "relative_flops", lambda row: number(row["relative_flops"], 2), once=True),
    Column("peak\nMB", "peak_memory_mb", lambda row: number(row["peak_memory_mb"], 0), once=True),
    Column("train\nPFLOPs", "training_flops", _petaflops, once=True, full=True),
    Column("added\nparameters", "added_parameters", lambda row: count(row["added_parameters"]), once=True, full=True),
    Column("added\npasses", "added_passes", lambda row: count(row["added_passes"]), once=True, full=True),
)
_RARE = ("stability_gap", "training_flops", "relative_flops")
"""Columns that are left out where nothing is known of them: scores inside of epochs; what older results do not tell."""
_CHANCE = ("seeds_deviation", "images_deviation", "settling_seeds", "settling_images")
"""Columns of what verdicts hang on: a table of their own in the terminal."""
_LEFT = ("strategy", "task (metric)", "verdict")
