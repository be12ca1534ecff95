"""Keys of stages that were published: a store of theirs must serve on."""

import os
from pathlib import Path

import pandas as pd
import pytest
import torch
import torchvision

from cl_bench.config.presets import load_experiment
from cl_bench.model.backbone import load_weights
from cl_bench.model.trial import try_experiment
from cl_bench.results.plan_file import read_plan
from cl_bench.stages.plan import make_plan
from cl_bench.tasks.catalog import load_catalog

pytestmark = pytest.mark.slow

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize("name", ["quickstart", "zoo", "unified_onehead_best", "class_incremental"])
def test_published_stages_keep_their_keys(name: str) -> None:
    if name not in ("quickstart", "zoo") and not os.environ.get("CL_BENCH_DATA"):
        pytest.skip("CL_BENCH_DATA names no folder of real data")
    stages = pd.read_csv(RESULTS / name / "stages.csv")
    if set(stages["torch"]) != {torch.__version__} or set(stages["torchvision"]) != {torchvision.__version__}:
        pytest.skip("the published stages are of other versions of torch and torchvision")
    asked = read_plan(RESULTS / name).settings
    experiment = load_experiment(name, {what: asked[what] for what in ("strategies", "orders", "seeds", "threads")})
    weights = load_weights(experiment.model.backbone, experiment.model.weights, try_experiment(experiment))
    plan = make_plan(experiment, load_catalog(experiment), weights)
    assert set(plan.stages) == set(read_plan(RESULTS / name).stages)
