"""What every stage scored on each class alone, one table an experiment; no torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from cl_bench import paths
from cl_bench.errors import UserError
from cl_bench.files import write_whole

FILE = "classes.csv"
COLUMNS = ("task", "class", "value")


def load(folder: Path, stages: Iterable[str], store_first: bool = False) -> pd.DataFrame:
    """Return the headline metric of each class at the ends of `stages`, one row a stage, task and class.

    folder: an experiment's results; `value` is nan where a class occurs in neither truth nor prediction. A stage that
    is neither exported nor in the store, or of a version that kept none, has no rows. store_first: what was exported
    serves only for stages that the store lacks.
    """
    wanted = list(dict.fromkeys(stages))
    table = _read(folder / FILE, ("stage", *COLUMNS))
    exported = {str(key): part for key, part in table.groupby("stage", sort=False)}
    parts = []
    for key in wanted:
        stored = _stored(folder, key) if store_first or key not in exported else exported[key]
        parts.append(exported.get(key, stored) if stored.empty else stored)
    return pd.concat(parts, ignore_index=True) if parts else table.iloc[:0]


def export(folder: Path, stages: Iterable[str]) -> list[Path]:
    """Write the table beside the plan and return its path; nothing where no stage kept any."""
    table = load(folder, stages, store_first=True)
    if table.empty:
        return []
    return [write_whole(folder / FILE, table.to_csv(index=False, lineterminator="\n").encode())]


def _stored(folder: Path, key: str) -> pd.DataFrame:
    stage = paths.find_stage(folder, key)
    table = _read(stage / FILE if stage else None, COLUMNS)
    table.insert(0, "stage", key)
    return table


def _read(path: Path | None, columns: tuple[str, ...]) -> pd.DataFrame:
    if path is None or not path.is_file():
        return pd.DataFrame({name: pd.Series(dtype=float if name == "value" else str) for name in columns})
    try:
        kinds = {name: float if name == "value" else str for name in columns}
        # A class may be called "nan"; only values may be missing.
        table = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values={"value": ["", "nan"]})
        return table[list(columns)]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is torn or not such a table: {error}") from error
