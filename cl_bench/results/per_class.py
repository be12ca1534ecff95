"""What every stage scored on each class alone, one table an experiment; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from cl_bench.errors import UserError
from cl_bench.results.plan_file import Plan
from cl_bench.results.store.scores import find_score
from cl_bench.results.store.store import find_stage
from cl_bench.utils.files import write_whole

FILE = "classes.csv"
COLUMNS = ("task", "class", "value")
EXPORTED = ("stage", "data", *COLUMNS)
"""The columns of classes.csv."""


def load(
    folder: Path, stages: Iterable[str], tests: Mapping[str, str] | None = None, store_first: bool = False
) -> pd.DataFrame:
    """Return the headline metric of each class at the ends of `stages`, one row a stage, task and class.

    folder: an experiment's results; tests: as `resamples.load` has it; `data`: of which test part, empty for val;
    `value` is nan where a class occurs in neither truth nor prediction. A stage that is neither exported nor in the
    store, or of a version that kept none, has no rows. store_first: what was exported serves only for stages that the
    store lacks.
    """
    table = _read(folder / FILE, EXPORTED)
    wanted = table["data"] == ("" if tests is None else table["task"].map(tests))
    exported = {str(key): part for key, part in table[wanted].groupby("stage", sort=False)}
    parts = []
    for key in dict.fromkeys(stages):
        stored = _stored(folder, key, tests) if store_first or key not in exported else exported[key]
        parts.append(exported.get(key, stored) if stored.empty else stored)
    return pd.concat(parts, ignore_index=True) if parts else table.iloc[:0]


def export(folder: Path, plan: Plan) -> list[Path]:
    """Write the table beside the plan and return its path; nothing where no stage kept any."""
    splits = (None, plan.tests) if plan.tests else (None,)
    parts = [load(folder, plan.stages, tests, store_first=True) for tests in splits]
    table = pd.concat([part for part in parts if not part.empty] or parts[:1], ignore_index=True)
    if table.empty:
        return []
    return [write_whole(folder / FILE, table.to_csv(index=False, lineterminator="\n").encode())]


def _stored(folder: Path, key: str, tests: Mapping[str, str] | None) -> pd.DataFrame:
    if tests is None:
        stage = find_stage(folder, key)
        table = _read(stage / FILE if stage else None, COLUMNS)
        table.insert(0, "data", "")
    else:
        found = {task: find_score(folder, key, identity) for task, identity in tests.items()}
        rows = [
            (tests[task], task, name, value)
            for task, score in found.items()
            if score is not None
            for name, value in zip(score.classes, score.per_class.tolist(), strict=True)
        ]
        table = pd.DataFrame(rows, columns=list(EXPORTED[1:])).astype({"value": float})
    table.insert(0, "stage", key)
    return table


def _read(path: Path | None, columns: tuple[str, ...]) -> pd.DataFrame:
    if path is None or not path.is_file():
        return pd.DataFrame({name: pd.Series(dtype=float if name == "value" else str) for name in columns})
    try:
        kinds = {name: float if name == "value" else str for name in columns}
        # A class may be called "nan"; only values may be missing.
        table = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values={"value": ["", "nan"]})
        if "data" in columns and "data" not in table:  # earlier versions had no test parts
            table["data"] = ""
        return table[list(columns)]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is torn or not such a table: {error}") from error
