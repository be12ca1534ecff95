"""Weights & Biases: a project an experiment, a run each; WANDB_MODE=offline keeps them on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wandb

from cl_bench.report.trackers.base import Tracked


def send(tracked: Tracked, folder: Path) -> str:
    """Send every run once, and table and figures, each time, as a run `overview`."""
    place = folder / "wandb"
    place.mkdir(parents=True, exist_ok=True)
    for run in tracked.runs:
        sent = place / f"{run.run_id}.sent"
        if sent.exists():
            continue
        with _start(tracked, folder, id=run.run_id, name=run.name, config=dict(run.settings)) as there:
            for step, values in run.history.items():
                there.log(dict(values), step=step)
            there.summary.update(run.final)
        sent.touch()
    table = wandb.Table(columns=list(map(str, tracked.summary)), data=tracked.summary.to_numpy())
    with _start(tracked, folder, name="overview") as there:
        there.log({path.stem: wandb.Image(str(path)) for path in tracked.figures})
        there.log({"table": table})
        # Nothing is sent in offline mode, and there is no address then.
        return there.url or str(place)


def _start(tracked: Tracked, folder: Path, **options: Any) -> Any:
    quiet = wandb.Settings(silent=True, console="off")
    return wandb.init(
        project=tracked.experiment, dir=str(folder), resume="allow", reinit="create_new", settings=quiet, **options
    )
