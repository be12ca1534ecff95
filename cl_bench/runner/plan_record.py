"""What plan.json says of an experiment, written before it is trained."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

import cl_bench
from cl_bench.results.plan_file import read_plan
from cl_bench.runner.prepare import Prepared
from cl_bench.stages.plan import Run
from cl_bench.tasks.catalog import TaskEntry
from cl_bench.utils.machine import processor
from cl_bench.utils.provenance import commit


def describe_plan(prepared: Prepared, command: str = "") -> dict[str, Any]:
    """Return the plan as plan.json holds it: all that tables and plots need besides the rows."""
    plan = prepared.plan
    provenance = {
        "command": command or "cl_bench.run (Python)",
        "commit": commit(),
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "version": cl_bench.__version__,
    }
    if prepared.extended is not None:
        before = read_plan(prepared.folder).provenance
        provenance = {**provenance, **_added_to(provenance, before)} if prepared.missing() else before
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
        "provenance": provenance,
    }


def _added_to(now: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """Return what the results that something is added to were made with, where it is not the same."""
    made = ", ".join(before[what] for what in ("commit", "machine") if before.get(what))
    same = all(now[what] == before.get(what) for what in ("commit", "machine"))
    earlier = [*([] if same or not made else [made]), *([before["added_to"]] if "added_to" in before else [])]
    return {"added_to": "; ".join(earlier)} if earlier else {}


def _describe_task(entry: TaskEntry) -> dict[str, Any]:
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
        **describe_test(entry),
    }


def describe_test(entry: TaskEntry) -> dict[str, Any]:
    """Return what plan.json says of a task's test part, nothing where it has none."""
    test = entry.audit.test
    if test is None:
        return {}
    weakness = entry.task.kind.weakness(entry.task, list(test.counts.values()))
    told = {"id": entry.test_id, "images": len(test.split.examples), "trivial": test.trivial}
    return {"test": {**told, "counts": test.counts, **({"weakness": weakness} if weakness else {})}}


def _describe_run(run: Run) -> dict[str, Any]:
    return {"strategy": run.strategy, "order": list(run.order), "seed": run.seed, "stages": list(run.stages)}
