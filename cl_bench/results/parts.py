"""Which part of the data results are told of: chosen, and put into words; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cl_bench.errors import UserError
from cl_bench.results.plan_file import learnt, scored_splits, tests
from cl_bench.results.rows import of_split

Attrs = Mapping[Any, Any]
"""What `results.of_split` hangs on to the rows of one part: plan, split, unscored and more."""


def chosen(results: pd.DataFrame, split: str = "") -> pd.DataFrame:
    """Return the results that are to be told of `split`, "val" or "test"; empty: of the part that the verdict is of.

    For the verdict's part all rows are returned, as curves need those of val; for the other part only its own. Raises
    UserError for a part that there is not, and for a test part on which no stage is scored.
    """
    if not split or of_split(results).attrs["split"] == split:
        return results
    part = of_split(results, split)
    if split == "test":  # and yet not the verdict's
        name = results.attrs["plan"]["experiment"]
        raise UserError(f"no stage of {name} is scored on its test part yet: cl-bench rescore {name}, or run")
    return part


def suffix(attrs: Attrs) -> str:
    """Return " (test)" or " (val)" for titles and axes; nothing where there is only one part to be told of."""
    return f" ({attrs['split']})" if len(scored_splits(attrs["plan"])) > 1 else ""


def beside_curves(results: pd.DataFrame) -> pd.DataFrame:
    """Return what is drawn beside curves, which are of val: the rows of the test part where the verdict is of it."""
    part = of_split(results)
    return part[part["value"].notna()] if part.attrs["split"] == "test" else part.iloc[:0]


def raw(table: pd.DataFrame) -> str:
    """Return a table's numbers as CSV, with the part that they are of as its last column."""
    return told(table).to_csv(index=False, lineterminator="\n").removesuffix("\n")


def told(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the part that it is of in a column `split`: one, or those of its two sides."""
    splits = table.attrs.get("splits") or [table.attrs["split"]]
    return table.assign(split=" and ".join(dict.fromkeys(splits)))


def notes(attrs: Attrs, what: str = "Verdicts") -> list[str]:
    """Return sentences that say which part `what` is of, and how many stages are not scored on the test part."""
    plan, split = attrs["plan"], attrs["split"]
    known = scored_splits(plan)
    if split == "test":
        sizes = [f"{task['name']} {task['test']['images']:,}" for task in learnt(plan)]
        lines = [f"{what} are of the test part: {_listed(sizes)} images."]
    elif split == "val":
        lines = [f"{what} are of the validation images{_lacking(plan)}."]
    else:
        lines = [f"Scored on {split}, a quarter of train that was split off; val was not looked at."]
    if (count := attrs["unscored"]) and "test" in known:
        stages = "1 stage is" if count == 1 else f"{count} stages are"
        lines.append(f"{stages} not scored on the test part: cl-bench rescore {plan['experiment']}, or run.")
    return lines


def _lacking(plan: Mapping[str, Any]) -> str:
    lacking = [task["name"] for task in learnt(plan) if task["name"] not in tests(plan)]
    if not lacking:
        return ""
    if len(lacking) == len(learnt(plan)):
        return ": nothing here is scored on a test part"
    return f": {_listed(lacking)} {'has' if len(lacking) == 1 else 'have'} no test part"


def _listed(names: list[str]) -> str:
    return " and ".join([part for part in (", ".join(names[:-1]), names[-1]) if part])
