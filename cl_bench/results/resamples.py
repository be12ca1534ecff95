"""What the ends of runs scored in the same resamples of their tasks' images, one table an experiment; no torch."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load_file

from cl_bench.errors import UserError
from cl_bench.results.plan_file import Plan
from cl_bench.results.store.scores import find_score
from cl_bench.results.store.store import find_stage
from cl_bench.utils.files import write_whole

Values = npt.NDArray[np.float32]
FILE = "resamples.parquet"


def load(
    folder: Path, stages: Iterable[str], tests: Mapping[str, str] | None = None, store_first: bool = False
) -> pd.DataFrame:
    """Return the headline scores, one row a resample, one column a (stage, task).

    folder: an experiment's results; stages: keys; tests: what scores on test parts go by, by task, where these are
    wanted (`Plan.tests`), val otherwise. The resamples of a task weigh the same images in every stage and
    experiment (see `metrics.bootstrap`), so that differences between columns are paired. A stage that is neither
    exported nor in the store, or of a version that kept none, has no column. store_first: what was exported serves only
    for what the store lacks.
    """
    wanted, found = set(stages), dict[tuple[str, str], Values]()
    for source in (_stored, _exported) if store_first else (_exported, _stored):
        found = {**source(folder, wanted, tests, found.keys()), **found}
    return pd.DataFrame(found) if found else pd.DataFrame(columns=pd.MultiIndex.from_arrays([[], []]))


def export(folder: Path, plan: Plan) -> list[Path]:
    """Write beside the plan what intervals are told from, the ends of its runs; return the path, if there is any."""
    ends = {(line.stage, line.task) for line in plan.baselines}
    ends |= {(run.stages[-1], task) for run in plan.runs for task in run.order}
    columns = {}
    for tests in (None, plan.tests):
        table = load(folder, {stage for stage, _ in ends}, tests, store_first=True)
        columns.update({_column(*end, tests): table[end] for end in table if end in ends})
    if not columns:
        return []
    content = io.BytesIO()
    pd.DataFrame(columns).sort_index(axis=1).to_parquet(content, index=False)
    return [write_whole(folder / FILE, content.getvalue())]


def _column(stage: str, task: str, tests: Mapping[str, str] | None) -> str:
    return f"{stage} {task}" if tests is None else f"{stage}/{tests[task]} {task}"


def _exported(
    folder: Path, stages: set[str], tests: Mapping[str, str] | None, known: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Values]:
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        # Only what is wanted is read: a large experiment has thousands of columns.
        chosen = {}
        for name in map(str, pq.read_schema(path).names):
            front, _, task = name.partition(" ")
            end = front.partition("/")[0], task
            of_split = tests is None or task in tests
            if end[0] in stages and of_split and end not in known and name == _column(*end, tests):
                chosen[name] = end
        table = pd.read_parquet(path, columns=list(chosen))
        return {end: table[name].to_numpy() for name, end in chosen.items()}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is torn or not such a table: {error}") from error


def _stored(
    folder: Path, stages: set[str], tests: Mapping[str, str] | None, known: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Values]:
    if tests is None:
        absent = stages - {stage for stage, _ in known}
        return {(key, task): values for key in absent for task, values in _of_stage(folder, key).items()}
    ends = ((key, task) for key in stages for task in tests if (key, task) not in known)
    scores = {end: find_score(folder, end[0], tests[end[1]]) for end in ends}
    return {end: score.resampled for end, score in scores.items() if score is not None}


def _of_stage(folder: Path, key: str) -> dict[str, Values]:
    stage = find_stage(folder, key)
    path = stage / "resamples.safetensors" if stage else None
    if path is None or not path.is_file():
        return {}
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is torn: {error}") from error
