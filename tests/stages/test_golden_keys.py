"""Keys of stages as literals: whoever moves or renames code proves here that it trains the same stages.

Versions of libraries and bytes of data are put in by hand, so that the keys are the same on every machine. A change
that is meant (a default, a setting that acts) is written down by `python tests/stages/test_golden_keys.py`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from unittest import mock

from cl_bench.config.presets import load_experiment
from cl_bench.model.backbone import load_weights
from cl_bench.model.trial import try_experiment
from cl_bench.plugins.registry import strategies
from cl_bench.stages import plan
from cl_bench.tasks.catalog import load_catalog

GOLDEN = Path(__file__).with_name("golden_keys.json")
VERSIONS = dict.fromkeys(("numpy", "torch", "torchvision", "timm", "pillow"), "0")
COMPOSED = ("kd[direction=student_teacher]+replay[memory=3]", "ewc[anchors=each]", "consolidate[labels=0.0]")
PROTOCOLS = {
    "": {},
    "total schedule": {"schedule": "total"},
    "bfloat16 on CUDA": {"precision": "bfloat16", "device": "cuda"},
    "a test part": {"tasks.cls.data.test": 10},
}
STREAM = {"model.backbone": "mobilenetv3_small_050", "orders": [["seg", "det", "cls"], ["cls", "seg", "cls"]]}
"""What is in place of the preset's, so that the keys outlive its backbone."""


def keys() -> dict[str, list[str]]:
    """Return the stage keys of built-in strategies, and of naive under other protocols, on the stream of `check`."""
    strategies.load()
    modules = {name: entry.build.__module__ for name, entry in strategies.entries.items()}
    built_in = [name for name, module in modules.items() if module.startswith("cl_bench.strategies.")]
    found = {}
    for name, changes in PROTOCOLS.items():
        names = ["naive"] if name else sorted({*built_in, *COMPOSED})
        experiment = load_experiment("check", {**STREAM, **changes, "strategies": names})
        entries = tuple(
            replace(entry, audit=replace(entry.audit, train_fingerprint="train", val_fingerprint="val"))
            for entry in load_catalog(experiment)
        )
        weights = load_weights(experiment.model.backbone, experiment.model.weights, try_experiment(experiment))
        with mock.patch.object(plan, "_versions", return_value=VERSIONS):
            made = plan.make_plan(experiment, entries, weights)
        for run in (*made.baselines, *made.runs):
            found[f"{run.strategy} {'>'.join(run.order)} {name}".strip()] = list(run.stages)
    return found


def test_no_stage_has_got_another_key() -> None:
    golden, found = json.loads(GOLDEN.read_text(encoding="utf-8")), keys()
    assert set(found) == set(golden)
    assert [name for name in golden if found[name] != golden[name]] == []


def test_a_test_part_changes_no_key() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    same = [(golden[name], golden[f"{name} a test part"]) for name in golden if f"{name} a test part" in golden]
    assert same
    assert all(one == other for one, other in same)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(keys(), indent=1) + "\n", encoding="utf-8")
