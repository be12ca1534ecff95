"""MLflow: an experiment each, a run each; in a database below the results where MLFLOW_TRACKING_URI names no other."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from cl_bench.report.trackers.base import Tracked, TrackedRun

_IDENTITY = "cl_bench.identity"
_LONGEST = 500
"""Characters of a parameter's value; MLflow refuses more."""
_AT_ONCE = 100
"""Parameters of one request; MLflow refuses more."""


def send(tracked: Tracked, folder: Path) -> str:
    """Send the runs that are not there yet, and table and figures, anew each time, as a run `overview`."""
    place = (folder / "mlflow").resolve()
    place.mkdir(parents=True, exist_ok=True)
    where = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{place / 'mlflow.db'}"
    client = MlflowClient(where)
    experiment = _experiment(client, tracked.experiment, place)
    sent = {run.data.tags.get(_IDENTITY) for run in client.search_runs([experiment], "status = 'FINISHED'")}
    for run in tracked.runs:
        if run.run_id not in sent:
            _send(client, experiment, run)
    overview = client.create_run(experiment, run_name="overview").info.run_id
    client.log_text(overview, tracked.table, "table.md")
    for path in tracked.figures:
        client.log_artifact(overview, str(path))
    client.set_terminated(overview)
    return without_password(where)


def without_password(address: str) -> str:
    """Return the address as it may be shown: without the user and password of a server's."""
    return re.sub("//[^/@]*@", "//", address)


def _experiment(client: MlflowClient, name: str, place: Path) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    ours = "MLFLOW_TRACKING_URI" not in os.environ
    return str(client.create_experiment(name, (place / "artifacts").as_uri() if ours else None))


def _send(client: MlflowClient, experiment: str, run: TrackedRun) -> None:
    there = client.create_run(experiment, run_name=run.name, tags={_IDENTITY: run.run_id}).info.run_id
    for group in _groups(run.settings):
        client.log_batch(there, params=[Param(name, str(value)[:_LONGEST]) for name, value in group])
    for step, values in run.history.items():
        client.log_batch(there, metrics=[Metric(name, value, 0, step) for name, value in values.items()])
    client.set_terminated(there)


def _groups(settings: Mapping[str, Any]) -> list[list[tuple[str, Any]]]:
    pairs = list(settings.items())
    return [pairs[start : start + _AT_ONCE] for start in range(0, len(pairs), _AT_ONCE)]
