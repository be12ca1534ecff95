"""What is left of every task after every stage, as plain values."""

from __future__ import annotations

from typing import NamedTuple

from cl_bench.results.rows import BASELINE, Results
from cl_bench.results.summary import void_tasks


class Retained(NamedTuple):
    """One strategy in one order.

    stages: what each trained, "a+b" for several tasks at once; cells: by stage and task, the score as a share of the
    task's baseline, both means over the seeds that have both; None where the task was not learnt yet or a score is
    missing; void: tasks of whose baseline nothing can be said.
    """

    strategy: str
    order: str
    tasks: list[str]
    stages: list[str]
    cells: list[list[float | None]]
    void: list[str]


def retained(results: Results) -> list[Retained]:
    """Return an entry for each strategy and order of `results` (see `rows.read_results`)."""
    results = results.of()
    rows = results.rows
    ends = rows[rows["last"] & (rows["metric"] == rows["task"].map(results.plan.headline))]
    single = ends["strategy"] == BASELINE
    baselines = ends[single].set_index(["task", "seed"])["value"]
    void, entries = sorted(void_tasks(results)), []
    for (strategy, order), part in ends[~single].groupby(["strategy", "order"], sort=False):
        tasks, stages = (
            list(dict.fromkeys(str(order).split(">"))),
            part.sort_values("position").drop_duplicates("position"),
        )
        both = part.join(baselines.rename("baseline"), on=["task", "seed"]).dropna(subset=["value", "baseline"])
        means = both.groupby(["position", "task"])[["value", "baseline"]].mean()
        shares = (means["value"] / means["baseline"]).where(means["baseline"] > 0).dropna().to_dict()
        cells = [[shares.get((position, task)) for task in tasks] for position in stages["position"]]
        entries.append(Retained(str(strategy), str(order), tasks, stages["trained"].tolist(), cells, void))
    return entries
