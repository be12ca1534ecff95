import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cl_bench.errors import UserError
from cl_bench.metrics.bootstrap import RESAMPLES
from cl_bench.results import resamples
from cl_bench.runner.prepare import Prepared, prepare

pytestmark = pytest.mark.usefixtures("full_sizes")


@pytest.fixture
def trained(tiny: Callable[..., str], results: Path, with_stages: Callable[[Prepared], Prepared]) -> Prepared:
    """Seg, then cls, trained under naive."""
    return with_stages(prepare(tiny(orders=[["seg", "cls"]], epochs=1)))


def test_every_stage_keeps_its_scores_in_every_resample(trained: Prepared) -> None:
    table = resamples.load(trained.folder, trained.plan.stages)
    first, second = trained.plan.runs[0].stages
    (alone,) = set(trained.plan.stages) - {first, second}
    assert set(table.columns) == {(first, "seg"), (second, "seg"), (second, "cls"), (alone, "cls")}
    assert len(table) == RESAMPLES
    for stage, task in table.columns:
        score = trained.store.scores(stage)[task, {"seg": "mIoU", "cls": "Top-1"}[task]]
        low, high = table[stage, task].quantile([0.01, 0.99])
        assert 0 <= low <= score <= high <= 1


def test_what_was_exported_is_there_without_the_store(trained: Prepared) -> None:
    before = resamples.load(trained.folder, trained.plan.stages)
    shutil.rmtree(trained.store.root)
    after = resamples.load(trained.folder, trained.plan.stages)
    assert before.sort_index(axis=1).equals(after.sort_index(axis=1))
    assert resamples.load(trained.folder, ["0" * 64]).empty


def test_a_torn_table_is_named(trained: Prepared) -> None:
    path = trained.folder / resamples.FILE
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"resamples\.parquet is torn"):
        resamples.load(trained.folder, trained.plan.stages)
