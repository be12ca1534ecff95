"""The store over time, and results that move between machines."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cl_bench
from cl_bench.errors import UserError
from cl_bench.report.status import status
from cl_bench.results.archive import MANIFEST, export_results, import_results
from cl_bench.results.garbage import garbage, remove
from cl_bench.results.store.failures import Failure, Failures
from cl_bench.results.store.scores import Score, Scores
from cl_bench.results.store.store import Store
from cl_bench.runner.prepare import Prepared, prepare
from cl_bench.runner.run import train

LOST = "12" * 32
"""A key that no plan has."""


@pytest.fixture
def trained(tiny: Callable[..., str], results: Path, with_stages: Callable[[Prepared], Prepared]) -> Prepared:
    """Two tasks under naive: three stages."""
    return with_stages(prepare(tiny(orders=[["seg", "det"]], epochs=1)))


def test_what_no_plan_refers_to_can_go_and_nothing_else(
    trained: Prepared, tiny: Callable[..., str], results: Path
) -> None:
    store, plans = trained.store, [trained.folder / "plan.json"]
    assert garbage(store, plans) == []
    train(prepare(tiny(name="other", orders=[["cls"]], epochs=1)))
    (results / "other" / "plan.json").unlink()
    done = trained.plan.runs[0].stages[0]
    left = (
        *(f".draft-{LOST}-9", ".draft-import-7", ".damaged/gone-1", ".logs/1.log"),
        *(f".checkpoints/{done}.safetensors", f".checkpoints/.{done}-0a1b"),
    )
    for name in left:
        path = store.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(1000))
        os.utime(path, (0, 0))
    (store.root / "my photos").mkdir()
    (stray,) = {stage["key"] for stage in store.stages()} - set(trained.plan.stages)
    found = garbage(store, plans)
    assert {str(one.path.relative_to(store.root)) for one in found} == {*left, stray}
    assert min(one.size for one in found) == 1000
    remove(found)
    assert garbage(store, plans) == []
    assert all(key in Store(store.root) for key in trained.plan.stages)


def test_what_is_being_trained_stays(trained: Prepared) -> None:
    draft = trained.store.root / f".draft-{LOST}-99"
    draft.write_bytes(b"half")
    assert garbage(trained.store, [trained.folder / "plan.json"]) == [], "it may be being written"
    os.utime(draft, (0, 0))
    assert len(garbage(trained.store, [trained.folder / "plan.json"])) == 1
    with trained.store.claim(LOST):
        assert garbage(trained.store, [trained.folder / "plan.json"]) == []


def test_scores_that_were_cut_off_go(trained: Prepared) -> None:
    key = next(iter(trained.plan.stages))
    half = trained.store.root / ".scores" / key / ".score-99"
    half.parent.mkdir(parents=True, exist_ok=True)
    half.write_bytes(b"half")
    assert garbage(trained.store, [trained.folder / "plan.json"]) == [], "it may be being written"
    os.utime(half, (0, 0))
    (found,) = garbage(trained.store, [trained.folder / "plan.json"])
    assert (found.path, found.what) == (half, "scores that were cut off")


def test_exported_results_are_taken_in_elsewhere_bit_for_bit(
    trained: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., str]
) -> None:
    archive = tmp_path / "tiny.tar"
    assert export_results(trained.folder, trained.store, archive) == 3
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / "elsewhere"))
    store = Store(tmp_path / "elsewhere" / "stages")
    folder = import_results(archive, tmp_path / "elsewhere", store)
    assert folder == tmp_path / "elsewhere" / "tiny"
    assert cl_bench.load_results(folder).equals(cl_bench.load_results(trained.folder))
    assert all(store.intact(key, tensors=True) for key in trained.plan.stages)
    assert prepare(tiny(orders=[["seg", "det"]], epochs=1)).missing() == []
    assert not list(store.root.glob(".draft*"))
    with pytest.raises(UserError, match="exists already"):
        import_results(archive, tmp_path / "elsewhere", store)


def rewritten(archive: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """Return a copy of the archive with other content."""
    with tarfile.open(archive) as tar:
        content = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    change(content)
    path = archive.with_name("changed.tar")
    with tarfile.open(path, "w") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def sealed(content: dict[str, bytes], name: str, data: bytes, experiment: str = "tiny", inside: str = "") -> None:
    """Change a member, the experiment's name (inside: the plan's, where another) and the hashes, as a forger would."""
    import hashlib

    content[name] = data
    plan = json.loads(content["results/plan.json"]) if name != "results/plan.json" else {}
    if plan:
        content["results/plan.json"] = json.dumps({**plan, "experiment": inside or experiment}).encode()
    sums = {member: hashlib.sha256(found).hexdigest() for member, found in content.items() if member != MANIFEST}
    content[MANIFEST] = json.dumps({"experiment": experiment, "files": sums}).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update({"results/rows.csv": c["results/rows.csv"] + b" "}), r"damaged: results/rows\.csv"),
        (lambda c: c.pop("results/rows.csv"), r"damaged: results/rows\.csv"),
        (lambda c: c.update({"results/more.txt": b"x"}), r"damaged: results/more\.txt"),
        (lambda c: c.pop(MANIFEST), "not an archive of results"),
        (lambda c: c.update({MANIFEST: b"{}"}), "not an archive of results"),
        (lambda c: c.update({"../evil": b"x"}), "unsafe path"),
        (lambda c: sealed(c, "results/x", b"", "../evil"), "no experiment's name"),
        (lambda c: sealed(c, "results/x", b"", "e" * 300), "no experiment's name"),
        (lambda c: sealed(c, "results/x", b"", "stages"), "no experiment's name"),
        (lambda c: sealed(c, "results/x", b"", "another", inside="tiny"), "'another', and its plan 'tiny'"),
        (lambda c: sealed(c, f"stages/{'0' * 64}/stage.json", b'{"settings": {}}'), "not what its key says"),
        (lambda c: sealed(c, next(n for n in c if n.endswith("stage.json")), b"{}"), "not an archive of results"),
        (lambda c: sealed(c, "results/plan.json", b'{"stages": 1}'), "not an archive of results"),
        (lambda c: sealed(c, "results/plan.json", b'{"schema": "x"}'), "not an archive of results"),
        (lambda c: sealed(c, "results/plan.json", b"[" * 100_000), "not an archive of results"),
    ],
)
def test_an_archive_that_is_not_what_was_exported_is_refused_whole(
    trained: Prepared, tmp_path: Path, change: Callable[[dict[str, bytes]], object], message: str
) -> None:
    export_results(trained.folder, trained.store, tmp_path / "tiny.tar")
    archive = rewritten(tmp_path / "tiny.tar", change)
    store = Store(tmp_path / "elsewhere" / "stages")
    with pytest.raises(UserError, match=message):
        import_results(archive, tmp_path / "elsewhere", store)
    assert list((tmp_path / "elsewhere").iterdir()) == [store.root]
    assert list(store.root.iterdir()) == []
    assert not (tmp_path / "evil").exists()


def test_an_archive_that_grows_when_it_is_read_is_refused(tmp_path: Path, trained: Prepared) -> None:
    path = tmp_path / "bomb.tar"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("results/big")
        member.size = 1 << 22
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(UserError, match=r"bomb\.tar is cut short, or holds more than"):
        import_results(path, tmp_path / "elsewhere", trained.store)


def test_an_archive_that_is_cut_short_is_said_to_be(tmp_path: Path, trained: Prepared) -> None:
    export_results(trained.folder, trained.store, tmp_path / "tiny.tar")
    whole = (tmp_path / "tiny.tar").read_bytes()
    (tmp_path / "short.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"short\.tar is cut short, or holds more than"):
        import_results(tmp_path / "short.tar", tmp_path / "elsewhere", trained.store)


def test_why_a_stage_is_not_there_travels_and_is_forgotten_with_its_plan(
    trained: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = trained.plan.runs[0].stages[-1]
    trained.store.discard(last)
    Failures(trained.folder.parent).add(last, Failure("diverged", "the loss is not finite"))
    assert export_results(trained.folder, trained.store, tmp_path / "tiny.tar") == 2
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / "elsewhere"))
    store = Store(tmp_path / "elsewhere" / "stages")
    folder = import_results(tmp_path / "tiny.tar", tmp_path / "elsewhere", store)
    shown = {stage.key: (stage.state, stage.detail) for stage in status(folder)}
    assert shown[last] == ("failed", "diverged: the loss is not finite"), (
        "though its rows are there, as results outlive stages"
    )
    assert Failures(folder.parent).get(last) == Failure("diverged", "the loss is not finite")
    assert garbage(store, [folder / "plan.json"]) == []
    Failures(folder.parent).add(LOST, Failure("raised", "long ago"))
    (found,) = garbage(store, [folder / "plan.json"])
    assert found.path == Failures(folder.parent).path(LOST)


def test_what_a_killed_import_left_is_not_taken_for_a_part_of_the_next(
    trained: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "tiny.tar"
    assert export_results(trained.folder, trained.store, archive) == 3
    store = Store(tmp_path / "elsewhere" / "stages")
    stray = store.root / f".draft-import-{os.getpid()}" / "results" / "stray.html"
    stray.parent.mkdir(parents=True)
    stray.write_text("left by a process of the same number")
    folder = import_results(archive, tmp_path / "elsewhere", store)
    assert not (folder / "stray.html").exists()


def test_a_plan_that_lacks_a_part_is_named(trained: Prepared) -> None:
    plan = trained.folder / "plan.json"
    plan.write_text(json.dumps({k: v for k, v in json.loads(plan.read_text()).items() if k != "stages"}))
    with pytest.raises(UserError, match=r"plan\.json lacks 'stages'"):
        garbage(trained.store, [plan])
    with pytest.raises(UserError, match=r"plan\.json lacks 'stages'"):
        status(trained.folder)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, trained: Prepared) -> None:
    path = tmp_path / "no.tar"
    path.write_bytes(b"no archive" * 100)
    with pytest.raises(UserError, match="damaged or unreadable"):
        import_results(path, tmp_path / "elsewhere", trained.store)


def test_a_damaged_stage_is_not_exported_and_the_next_run_makes_it_anew(trained: Prepared, tmp_path: Path) -> None:
    ends = [run.stages[-1] for run in trained.plan.runs + trained.plan.baselines]
    weights = [trained.store.folder(end) / "model.safetensors" for end in dict.fromkeys(ends)]
    whole = [path.read_bytes() for path in weights]
    for path in weights:
        path.unlink()
    with pytest.raises(UserError, match="and 2 more: damaged, and set aside"):
        export_results(trained.folder, trained.store, tmp_path / "tiny.tar")
    assert not list(tmp_path.glob("*.tar"))
    assert train(trained) == {}
    assert [path.read_bytes() for path in weights] == whole
    assert export_results(trained.folder, trained.store, tmp_path / "tiny.tar") == 3


def test_a_store_that_is_not_there_holds_nothing(trained: Prepared, tmp_path: Path) -> None:
    assert garbage(Store(tmp_path / "none", writable=False), [trained.folder / "plan.json"]) == []


def test_only_a_file_is_taken_in(trained: Prepared, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="/dev/zero is no file"):
        import_results(Path("/dev/zero"), tmp_path / "elsewhere", trained.store)


def test_scores_on_test_parts_travel_and_go_with_their_stages(trained: Prepared, tmp_path: Path) -> None:
    done = trained.plan.runs[0].stages[0]
    score = Score("seg", ["a"], {"mIoU": 0.5}, 2, 0.0, np.ones(3, np.float32), np.ones(1))
    for key in (done, LOST):
        Scores(trained.store.root).add(key, "0123456789abcdef", score, {"confusion": np.ones(2)})
    (gone,) = garbage(trained.store, [trained.folder / "plan.json"])
    assert gone.path.name == LOST
    assert gone.what == "scores of a stage of no plan"
    archive = tmp_path / "moved.tar"
    export_results(trained.folder, trained.store, archive)
    elsewhere = Store(tmp_path / "elsewhere" / "stages")
    import_results(archive, tmp_path / "elsewhere", elsewhere)
    found = Scores(elsewhere.root).get(done, "0123456789abcdef")
    assert found is not None
    assert found.values == {"mIoU": 0.5}
    assert len(list(Scores(elsewhere.root).root.glob("*/*"))) == 2
