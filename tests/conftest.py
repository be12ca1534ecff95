"""What the tests share: a tiny experiment on embedded data, in folders of its own."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

# Before torch is imported: two workers of several threads each would wait for each other on two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if Path("/dev/shm").is_dir() and shutil.disk_usage("/dev/shm").free > 4 * 2**30:
    # Nothing of a test needs to survive a power cut, so nothing waits for a disk.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/dev/shm")

import pytest
import yaml

from cl_bench.errors import UserError

if TYPE_CHECKING:  # fixtures import these themselves: xdist's controller reads this file, too, and needs no torch
    from kept import Kept
    from spy import Spy

    from cl_bench.runner.prepare import Prepared
    from cl_bench.testing.bench import Bench

TINY = {
    "name": "tiny",
    "tasks": [
        {"name": "seg", "kind": "segmentation", "data": {"format": "scenes", "train": 12, "val": 10, "size": 64}},
        {
            "name": "det",
            "kind": "detection",
            "data": {"format": "scenes", "train": 12, "val": 10, "size": 64},
            "levels": 8,
        },
        {"name": "cls", "kind": "classification", "data": {"format": "scenes", "train": 12, "val": 10, "size": 64}},
    ],
    "strategies": ["naive"],
    "model": {"backbone": "test_efficientnet", "weights": "none", "neck_channels": 16, "shared_channels": 8},
    "epochs": 2,
    "batch_size": 4,
    "image_size": 64,
    "learning_rate": 1e-3,
    "threads": 1,
    "augment": {"flip": True},
}
"""Three tasks of two short epochs: a stage takes about a second."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `slow` what trains stages, starts processes or exports models, so that nobody has to remember to.

    What is slow for another reason, such as drawing, is marked where it stands.
    """
    for item in items:
        assert isinstance(item, pytest.Function)
        trains = {"second_stage", "with_stages", "bench", "run"} & set(item.fixturenames)
        if (trains or _is_slow(item.module)) and not item.get_closest_marker("quick"):
            item.add_marker("slow")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector off while tests are imported, which saves a tenth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@cache
def _is_slow(module: ModuleType) -> bool:
    named = vars(module).values()
    modules = {getattr(thing, "__module__", None) or getattr(thing, "__name__", None) for thing in named}
    slow = (
        "cl_bench.api.run",
        "cl_bench.runner.run",
        "cl_bench.stages.trainer",
        "cl_bench.testing",
        "cl_bench.deploy",
        "subprocess",
        "processes",
    )
    return any(str(name).startswith(slow) for name in modules)


@pytest.fixture(scope="session", autouse=True)
def _shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Generate embedded data once for all tests, away from the user's own cache."""
    before = os.environ.get("CL_BENCH_CACHE")
    os.environ["CL_BENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["CL_BENCH_CACHE"]
    else:
        os.environ["CL_BENCH_CACHE"] = before


@pytest.fixture
def full_sizes() -> None:
    """The test needs as many pictures and resamples as a user gets."""


@pytest.fixture(autouse=True)
def _few_pictures_and_resamples(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "full_sizes" not in request.fixturenames:
        monkeypatch.setattr("cl_bench.kinds.base.GALLERY", 3)
        monkeypatch.setattr("cl_bench.metrics.bootstrap.RESAMPLES", 100)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The stream of `cl-bench check` in one store for all tests, so that what strategies share is trained once."""
    from cl_bench.testing.bench import Bench

    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def kept_stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where stages are kept for all tests."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def kept(request: pytest.FixtureRequest, kept_stages: Path) -> Kept:
    """Stages that tests begin with: each is trained by the first test that needs it."""
    from kept import Kept

    # How many pictures and resamples a stage has is in no key.
    return Kept(kept_stages / ("full" if "full_sizes" in request.fixturenames else "few"))


@pytest.fixture
def with_stages(kept: Kept) -> Callable[[Prepared], Prepared]:
    """Return a function that has all stages of what is prepared in its store, and their rows in its folder.

    It takes those that are kept, so it is not for tests that look on while stages are trained.
    """
    from cl_bench.runner.run import train as train_missing

    def have(prepared: Prepared) -> Prepared:
        for key in prepared.plan.stages:
            kept.lend(prepared.store, key)
        assert train_missing(prepared) == {}
        for key in prepared.plan.stages:
            kept.take(prepared.store, key)
        return prepared

    return have


@pytest.fixture
def declared_here_alone() -> Iterator[None]:
    """Forget afterwards what the test declares: other tests of this process must not find it."""
    from cl_bench.plugins.registry import formats, kinds, strategies

    registries = (strategies, kinds, formats)
    for registry in registries:
        registry.load()
    before = [(dict(registry.entries), dict(registry.broken)) for registry in registries]
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for registry, (entries, broken) in zip(registries, before, strict=True):
        registry.entries, registry.broken = entries, broken
    for name in set(sys.modules) - modules:
        if name.startswith("cl_bench_plugin_"):
            del sys.modules[name]


@pytest.fixture
def own_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the test's own folder for results, and no store but the one in it."""
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path))
    monkeypatch.delenv("CL_BENCH_STORE", raising=False)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty results folder, in force for this test."""
    folder = tmp_path / "results"
    monkeypatch.setenv("CL_BENCH_RESULTS", str(folder))
    monkeypatch.delenv("CL_BENCH_STORE", raising=False)
    return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes the tiny experiment, with changes of its top-level keys, and returns its path."""

    def write(**changes: Any) -> str:
        content = {**TINY, **changes}
        path = tmp_path / f"{content['name']}.yaml"
        path.write_text(yaml.safe_dump(content))
        return str(path)

    return write


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets; the test is skipped where CL_BENCH_DATA does not name one."""
    folder = os.environ.get("CL_BENCH_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CL_BENCH_DATA names no folder with the real data sets")
    return Path(folder)


@pytest.fixture
def second_stage(
    results: Path, tiny: Callable[..., str], kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Spy]:
    """Return a function that trains one task, then another, and returns what a spy saw in the second stage."""
    from spy import Spy

    from cl_bench.runner.prepare import prepare
    from cl_bench.stages.trainer import Trainer

    def train(strategy: str, watch: Spy | None = None, order: tuple[str, str] = ("seg", "det"), **changes: Any) -> Spy:
        spy = watch or Spy()
        prepared = prepare(tiny(orders=[list(order)], **changes), strategies=[strategy])
        trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store)
        first, second = prepared.plan.runs[0].stages
        kept.begin(trainer, prepared.plan, first)
        replace(trainer, observers=(spy,)).train(prepared.plan, [second])
        return spy

    return train


Run = Callable[..., None]


@pytest.fixture
def run(results: Path, tiny: Callable[..., str]) -> Run:
    """Return a function that trains all stages of an order with a spy behind the strategy's plug-ins."""
    from cl_bench.runner.prepare import prepare
    from cl_bench.stages.trainer import Trainer

    def train(strategy: str, spy: Spy, order: Sequence[str] = ("seg", "det"), **changes: Any) -> None:
        prepared = prepare(tiny(orders=[list(order)], **changes), strategies=[strategy])
        trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store, (spy,))
        plan = prepared.plan
        for unit in dict.fromkeys(plan.stages[key].chain or (key,) for key in plan.runs[0].stages):
            trainer.train(plan, unit)

    return train


@pytest.fixture
def seeded() -> None:
    """Let what the test draws be the same each time."""
    import torch

    torch.manual_seed(0)


def message(call: Callable[..., object], *arguments: Any, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
