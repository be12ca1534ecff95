"""plan.json: what tables, plots and status need to know of an experiment, and where its figures come from."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cl_bench
from cl_bench.catalog import Entry
from cl_bench.resources import processor
from cl_bench.stages.plan import Run

if TYPE_CHECKING:
    from cl_bench.api import Prepared


def describe_plan(prepared: Prepared, command: str = "") -> dict[str, Any]:
    """Return the plan as plan.json holds it: all that tables and plots need besides the rows."""
    plan = prepared.plan
    return {
        "experiment": prepared.folder.name,
        "settings": prepared.experiment.model_dump(mode="json"),
        "tasks": [_describe_task(entry) for entry in prepared.catalog],
        "runs": [_describe_run(run) for run in plan.runs],
        "baselines": [{"task": run.order[0], "seed": run.seed, "stage": run.stages[0]} for run in plan.baselines],
        "stages": {
            stage.key: {"tasks": list(stage.trained), "parent": stage.parent, "epochs": stage.epochs}
            for stage in plan.stages.values()
        },
        "provenance": {
            "command": command or "cl_bench.run (Python)",
            "commit": _commit(),
            "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
            "version": cl_bench.__version__,
        },
    }


def _describe_task(entry: Entry) -> dict[str, Any]:
    task, audited = entry.task, entry.audit
    return {
        "name": task.name,
        "kind": task.kind.name,
        "metrics": list(task.kind.metrics),
        "predictor": task.predictor,
        "classes": len(task.classes),
        "trivial": audited.trivial,
        "train_images": len(audited.train.examples),
        "val_images": len(audited.val.examples),
        "epochs": entry.protocol.epochs,
        "image_size": entry.protocol.image_size,
    }


def _describe_run(run: Run) -> dict[str, Any]:
    return {"strategy": run.strategy, "order": list(run.order), "seed": run.seed, "stages": list(run.stages)}


def _commit() -> str:
    """Return the commit of the installed source, with `+changes` where it was edited; empty outside a clone."""

    def git(*words: str) -> str:
        found = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        return found.stdout.strip() if found.returncode == 0 else ""

    folders = [f"../{name}" for name in ("strategies", "experiments")]
    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        return f"{commit}+changes" if commit and git("status", "--porcelain", "--", ".", *folders) else commit
    except OSError:
        return ""


def command_line() -> str:
    """Return the command as the user typed it."""
    return shlex.join(["cl-bench", *sys.argv[1:]])
