"""Which part of the data results are told of, in words; no torch."""

from __future__ import annotations

import pandas as pd

from cl_bench.results.plan_file import Plan
from cl_bench.results.rows import Results


def word(results: Results) -> str:
    """Return the part that results are told of as the field calls it: "test", "validation"; a dev part by its name."""
    split = results.of().split
    return "validation" if split == "val" else split


def suffix(results: Results) -> str:
    """Return " (test)" or " (val)" for titles and axes; nothing where there is only one part to be told of."""
    return f" ({results.of().split})" if len(results.plan.splits) > 1 else ""


def csv_with_split(table: pd.DataFrame, *sides: Results) -> str:
    """Return a table's numbers as CSV, with the part that they are of as its last column."""
    return with_split(table, *sides).to_csv(index=False, lineterminator="\n").removesuffix("\n")


def with_split(table: pd.DataFrame, *sides: Results) -> pd.DataFrame:
    """Return a table with the part that it is of in a column `split`: that of its results, or of both of them."""
    return table.assign(split=" and ".join(dict.fromkeys(side.of().split for side in sides)))


def notes(results: Results, what: str = "Verdicts") -> list[str]:
    """Return sentences that say which part `what` is of, and how many stages are not scored on the test part."""
    plan, split = results.plan, results.of().split
    if split == "test":
        sizes = [f"{task.name} {task.test.images:,}" for task in plan.learnt if task.test]
        lines = [f"{what} are of the test part: {_listed(sizes)} images."]
    elif split == "val":
        lines = [f"{what} are of the validation images{_lacking(plan)}."]
    else:
        lines = [f"Scored on {split}, a quarter of train that was split off; val was not looked at."]
    return [*lines, *unscored_notes(results)]


def unscored_notes(results: Results) -> list[str]:
    """Return a sentence on how many stages are not scored on the test part; none where all are."""
    plan, count = results.plan, results.unscored
    if not count or "test" not in plan.splits:
        return []
    stages = "1 stage is" if count == 1 else f"{count} stages are"
    return [f"{stages} not scored on the test part: cl-bench rescore {plan.experiment}, or run."]


def _lacking(plan: Plan) -> str:
    lacking = [task.name for task in plan.learnt if not task.test]
    if not lacking:
        return ""
    if len(lacking) == len(plan.learnt):
        return ": nothing here is scored on a test part"
    return f": {_listed(lacking)} {'has' if len(lacking) == 1 else 'have'} no test part"


def _listed(names: list[str]) -> str:
    return " and ".join([part for part in (", ".join(names[:-1]), names[-1]) if part])
