"""What the experiment shows, before any table: sentences, and cards with a number each; no torch."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd

from cl_bench.metrics.statistics import paired
from cl_bench.report.text import percent
from cl_bench.results import parts
from cl_bench.results.comparison import finals
from cl_bench.results.plan_file import Plan
from cl_bench.results.rows import REFERENCE, Results
from cl_bench.results.summary import void_tasks


class Card(NamedTuple):
    """A number with what it is of and what it means."""

    label: str
    value: str
    note: str


class _Ranking(NamedTuple):
    means: dict[str, float]
    """Mean drops, shares, of the strategies that are ranked, the smallest first."""
    passing: list[str]
    settled: list[str]
    """Those that pass on every task, and those that do for certain."""


def sentences(results: Results, table: pd.DataFrame) -> list[str]:
    """Return what the experiment shows, in sentences: who forgets least, who passes, and how far to trust it.

    table: `summary.summary` of `results`. Ranked are strategies that are done in every order; runs that learn all
    tasks in one stage are a bound and take no part, void tasks neither.
    """
    headline = _judged(table)
    means, passing, settled = _ranking(table)
    said = [_least(results, table, means)] if means else []
    plan = results.plan
    if at_once := learnt_at_once(plan):
        said.append(f"{', '.join(at_once)} learns all tasks at once: a bound, and not ranked.")
    lacking = headline[(headline["status"] != "done") & ~headline["strategy"].isin(at_once)]
    if unfinished := lacking["strategy"].drop_duplicates().tolist():
        said.append(f"Not finished, and not ranked: {', '.join(unfinished)}.")
    if void := sorted(set(table.loc[table["verdict"] == "void", "task"])):
        said.append(
            f"Nothing can be said of {', '.join(void)}: the baseline is hardly better than a trivial predictor."
        )
    other = "other " if void else ""
    if settled:
        said.append(f"Every {other}task stays within the limit under {', '.join(settled)}.")
    elif passing:
        said.append(f"Every {other}task stays within the limit under {', '.join(passing)}, though not for certain.")
    elif means:
        said.append(f"No {'finished ' if unfinished else ''}strategy keeps every {other}task within the limit.")
    if len(results.seeds) == 1:
        said.append("One seed is an example, not evidence.")
    elif table["verdict"].str.contains("uncertain").any():
        said.append("Some verdicts are uncertain, and say so: cl-bench power tells what would settle them.")
    return [*said, *parts.notes(results)]


def learnt_at_once(plan: Plan) -> list[str]:
    """Return the strategies that learn all tasks in one stage."""
    return sorted({run.strategy for run in plan.runs if plan.is_joint(run)})


def cards(table: pd.DataFrame) -> list[Card]:
    """Return the numbers that stand above all tables, of the strategy that forgets least; none where none is ranked."""
    means, passing, _ = _ranking(table)
    if not means:
        return []
    best = next(iter(means))
    own = table[table["headline"] & (table["strategy"] == best)]
    worst, task = _worst(table, best)
    passed = ", ".join(passing) or "none"
    found = [
        Card("forgets least", best, f"of {len(means)} strategies; pass on every task: {passed}"),
        Card("mean drop", f"{percent(means[best])} %", "of the single-task baselines, on average"),
        Card("worst drop", f"{percent(worst)} %", f"of {task}"),
    ]
    flops = float(own["relative_flops"].mean())
    if not math.isnan(flops):
        images = int(own["stored_images"].max()) if own["stored_images"].notna().any() else 0
        found.append(Card("cost", f"{flops:.2f} x", f"{REFERENCE}'s operations; {images} stored images a past task"))
    return found


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["headline"] & (table["verdict"] != "void")]


def _ranking(table: pd.DataFrame) -> _Ranking:
    means, passing, settled = {}, [], []
    for strategy, own in _judged(table).groupby("strategy", sort=False):
        valid = ~own["together"] & own["average_drop"].notna() & (own["status"] == "done")
        if valid.all() and set(own["order"]) == set(table["order"]):
            means[str(strategy)] = float(own.drop_duplicates("order")["average_drop"].mean())
            if own["verdict"].str.startswith(("pass", "bonus")).all():
                passing.append(str(strategy))
            if own["verdict"].isin(["pass", "bonus"]).all():
                settled.append(str(strategy))
    return _Ranking({name: means[name] for name in sorted(means, key=means.__getitem__)}, passing, settled)


def _worst(table: pd.DataFrame, strategy: str) -> tuple[float, str]:
    """Return the largest drop of a strategy, over all orders, and its task."""
    judged = _judged(table)
    own = judged[judged["strategy"] == strategy].sort_values("drop").iloc[-1]
    return float(own["drop"]), str(own["task"])


def _least(results: Results, table: pd.DataFrame, means: dict[str, float]) -> str:
    """Return who loses least, on which task most, and who may be as good."""
    best, *others = means
    drops = finals(results)
    drops = drops[~drops["task"].isin(void_tasks(results))]
    by_seed = drops.pivot_table(index="seed", columns="strategy", values="drop")
    rivals = []
    for other in others:
        both = by_seed[[best, other]].dropna()
        interval = paired(both[best].tolist(), both[other].tolist()).interval if len(both) > 1 else None
        if interval is not None and interval[1] >= 0:
            rivals.append(other)
    doubt = f" (by no clear margin over {', '.join(rivals)})" if rivals else ""
    naive = f" ({REFERENCE}: {percent(means[REFERENCE])} %)" if REFERENCE in others else ""
    worst, task = _worst(table, best)
    where = "above" if means[best] < 0 else "below"
    mean = f"{percent(abs(means[best]))} % {where} their single-task baselines on average{naive}"
    return f"{best} forgets least{doubt}: its tasks end {mean}; its worst, {task}, drops {percent(worst)} %."
