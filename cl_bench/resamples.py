"""What every stage scored in the same resamples of its tasks' validation images, one table an experiment; no torch."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file

from cl_bench import paths
from cl_bench.errors import UserError
from cl_bench.files import write_whole

FILE = "resamples.parquet"


def load(folder: Path, stages: Iterable[str], store_first: bool = False) -> pd.DataFrame:
    """Return the headline scores, one row a resample, one column a (stage, task).

    folder: an experiment's results; stages: keys. The resamples of a task weigh the same images in every stage and
    experiment (see `metrics.bootstrap`), so that differences between columns are paired. A stage that is neither
    exported nor in the store, or of a version that kept none, has no column. store_first: what was exported serves only
    for stages that the store lacks.
    """
    wanted, found = set(stages), dict[tuple[str, str], npt.NDArray[np.float32]]()

    def read_store() -> None:
        for key in wanted - {stage for stage, _ in found}:
            found.update({(key, task): values for task, values in _stored(folder, key).items()})

    if store_first:
        read_store()
    if absent := wanted - {stage for stage, _ in found}:
        found.update({column: values for column, values in _exported(folder / FILE).items() if column[0] in absent})
    read_store()
    kept = {column: values for column, values in found.items() if column[0] in wanted}
    return pd.DataFrame(kept) if kept else pd.DataFrame(columns=pd.MultiIndex.from_arrays([[], []]))


def export(folder: Path, stages: Iterable[str]) -> list[Path]:
    """Write the table beside the plan and return its path; nothing where no stage kept any."""
    table = load(folder, stages, store_first=True).sort_index(axis=1)
    if table.empty:
        return []
    table.columns = table.columns.map(" ".join)
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    return [write_whole(folder / FILE, content.getvalue())]


def _exported(path: Path) -> dict[tuple[str, str], npt.NDArray[np.float32]]:
    if not path.is_file():
        return {}
    try:
        table = pd.read_parquet(path)
        columns = {name: str(name).split(" ", 1) for name in table}
        return {(stage, task): table[name].to_numpy() for name, (stage, task) in columns.items()}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is torn or not such a table: {error}") from error


def _stored(folder: Path, key: str) -> dict[str, npt.NDArray[np.float32]]:
    stage = paths.find_stage(folder, key)
    path = stage / "resamples.safetensors" if stage else None
    if path is None or not path.is_file():
        return {}
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is torn: {error}") from error
