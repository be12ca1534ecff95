"""Faults of stages and of the processes that train them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from processes import begin, ended, errors

from cl_bench.errors import StageFailedError
from cl_bench.plugins.registry import strategies
from cl_bench.report.status import status
from cl_bench.results.store.failures import Failure, Failures
from cl_bench.results.store.store import Store
from cl_bench.runner.executors.forkserver import start_server
from cl_bench.runner.executors.local import Workers, on_this_machine
from cl_bench.runner.prepare import Prepared, prepare
from cl_bench.runner.run import train as train_missing

pytestmark = pytest.mark.usefixtures("full_sizes")  # as the processes that are started have

FAULTY = """
import os, signal, sys
from avalanche.core import SupervisedPlugin
from cl_bench import strategy

class Faulty(SupervisedPlugin):
    acts_from = 2
    def state_dict(self): return {{}}
    def load_state_dict(self, tensors): pass
    def before_backward(self, strategy, **_):
        if strategy.past and strategy.step == 4:
            print("a last word", flush=True)
            {body}

@strategy("faulty")
def faulty(): return [Faulty()]
"""


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that writes a plugin file whose strategy does something bad in the middle of stage 2."""
    monkeypatch.setattr(strategies, "entries", {name: strategies.get(name) for name in strategies})

    def write(body: str) -> Path:
        strategies.entries.pop("faulty", None)
        file = tmp_path / f"faulty{abs(hash(body))}.py"
        file.write_text(FAULTY.format(body=body))
        return file

    return write


@pytest.fixture
def naive(tiny: Callable[..., str], results: Path, with_stages: Callable[[Prepared], Prepared]) -> None:
    """The stages of naive are there already, and with them the first of the faulty strategy."""
    with_stages(prepare(tiny(), strategies=["naive"]))


def train(path: str, file: Path, workers: int = 1, **options: bool) -> tuple[Prepared, dict[str, Failure]]:
    prepared = prepare(path, strategies=["faulty", "naive"], plugin_files=[file])
    return prepared, train_missing(prepared, on_this_machine(workers), **options)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_raising_stage_fails_its_descendants_are_skipped_and_all_else_goes_on(
    tiny: Callable[..., str], results: Path, faulty: Callable[[str], Path], workers: int
) -> None:
    prepared, failed = train(tiny(), faulty("raise RuntimeError('boom')"), workers)
    _, second, third = prepared.plan.runs[0].stages
    assert {key: failure.kind for key, failure in failed.items()} == {second: "raised", third: "skipped"}
    assert "boom" in failed[second].reason
    assert "RuntimeError: boom" in failed[second].log[-1]
    assert all(key in Store(prepared.store.root) for key in prepared.plan.runs[1].stages)
    assert Failures(results).get(second) == failed[second]
    assert Failures(results).get(third) == failed[third]


@pytest.mark.usefixtures("naive")
@pytest.mark.parametrize(
    "body", ["raise SystemExit(0)", "raise BaseException", "raise type('Mute', (Exception,), {'__str__': sys.exit})"]
)
def test_a_plugin_cannot_end_the_run_by_what_it_raises(
    tiny: Callable[..., str], results: Path, faulty: Callable[[str], Path], body: str
) -> None:
    prepared, failed = train(tiny(), faulty(body))
    _, second, third = prepared.plan.runs[0].stages
    assert {key: failure.kind for key, failure in failed.items()} == {second: "raised", third: "skipped"}


@pytest.mark.usefixtures("naive")
def test_records_that_are_torn_do_not_stop_a_run(
    tiny: Callable[..., str], results: Path, faulty: Callable[[str], Path]
) -> None:
    file = faulty("raise RuntimeError('boom')")
    prepared, failed = train(tiny(), file)
    rows = (prepared.folder / "rows.csv").read_bytes()
    (prepared.folder / "rows.csv").write_bytes(rows[:-60])
    for key in failed:
        Failures(results).path(key).write_text("{")
    assert {found.state for found in status(prepared.folder) if found.key in failed} == {"failed"}
    assert train(tiny(), file)[1].keys() == failed.keys()
    assert (prepared.folder / "rows.csv").read_bytes() == rows


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "its process ended (signal 9)"),
        ("os._exit(3)", "its process ended (exit code 3)"),
        ("os._exit(0)", "its process is gone"),  # of which the pool says nothing
    ],
)
def test_a_worker_that_ends_fails_its_stage_alone(
    tiny: Callable[..., str], results: Path, faulty: Callable[[str], Path], end: str, reason: str
) -> None:
    prepared, failed = train(tiny(), faulty(end), workers=2)
    _, second, third = prepared.plan.runs[0].stages
    assert {key: failure.kind for key, failure in failed.items()} == {second: "killed", third: "skipped"}
    assert failed[second].reason == reason
    assert failed[second].log[-1] == "a last word"
    assert all(key in Store(prepared.store.root) for key in prepared.plan.runs[1].stages)
    assert prepared.store.checkpoints.load(second) is not None, "its first epoch is kept"


@pytest.mark.usefixtures("naive")
def test_what_diverged_is_not_tried_again_unless_asked_for(
    tiny: Callable[..., str], results: Path, faulty: Callable[[str], Path]
) -> None:
    path, file = tiny(), faulty("strategy.loss *= float('nan')")
    prepared, failed = train(path, file)
    _, second, third = prepared.plan.runs[0].stages
    assert {key: failure.kind for key, failure in failed.items()} == {second: "diverged", third: "skipped"}
    started: list[str] = []

    def note(key: str, state: object) -> None:
        if state == "started":
            started.append(key)

    again = prepare(path, strategies=["faulty", "naive"], plugin_files=[file])
    assert train_missing(again, report=note) == failed
    assert started == []
    assert train_missing(again, report=note, retry=True) == failed
    assert started == [second]


@pytest.mark.parametrize(("sent", "workers"), [(signal.SIGINT, "1"), (signal.SIGTERM, "1"), (signal.SIGTERM, "2")])
def test_a_stop_says_how_to_go_on_and_leaves_no_process(
    tiny: Callable[..., str], results: Path, tmp_path: Path, sent: signal.Signals, workers: str
) -> None:
    said, words = tmp_path / "said.txt", ["cl-bench", "run", tiny(epochs=40), "-j", workers]
    process = begin(f"import sys; from cl_bench import cli; sys.argv = {words}; cli.main()", said)
    await_checkpoint(results)
    assert process.pid is not None
    os.kill(process.pid, sent)
    assert ended(process) == 130
    assert_stopped(process.pid, errors(said), results)


def test_a_command_that_was_not_forked_says_nothing_more_at_its_end(tiny: Callable[..., str], results: Path) -> None:
    heard = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's background job starts deaf to it
    words = ["cl-bench", "run", tiny(epochs=40), "-j", "2"]
    code = f"import signal, sys; {heard}; from cl_bench import cli; sys.argv = {words}; cli.main()"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    await_checkpoint(results)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert_stopped(process.pid, said, results)


def await_checkpoint(results: Path) -> None:
    """Wait until an epoch of a stage is kept."""
    deadline = time.monotonic() + 120
    while not checkpoints(results) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert checkpoints(results), "no epoch was kept"


def checkpoints(results: Path) -> list[Path]:
    return list((results / "stages" / ".checkpoints").glob("[!.]*"))


def assert_stopped(leader: int, said: str, results: Path) -> None:
    """Fail unless the ended leader of a session said how to go on, left no process, and kept what was trained."""
    assert said.strip().splitlines()[-1].startswith("stopped; all is kept, to the last whole epoch")
    assert "Traceback" not in said
    assert nobody_is_left(leader)
    assert checkpoints(results)


def nobody_is_left(leader: int) -> bool:
    """Return whether all that the ended leader of a session had started ends soon, too."""
    for _ in range(200):
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_workers_end_with_their_parent(tiny: Callable[..., str], results: Path, tmp_path: Path) -> None:
    code = f"import cl_bench; cl_bench.run({tiny(epochs=40)!r}, workers=2)"
    process = begin(code, tmp_path / "said.txt")
    await_checkpoint(results)
    process.kill()
    assert ended(process) == -signal.SIGKILL
    assert process.pid is not None
    assert nobody_is_left(process.pid), "a worker trains on without its parent"


COUNTED = """
from pathlib import Path
from avalanche.core import SupervisedPlugin
from cl_bench import strategy

class Counted(SupervisedPlugin):
    acts_from = 2
    def before_training_exp(self, strategy, **_):
        if strategy.past:
            with Path({file!r}).open("a") as log:
                log.write(f"{{strategy.current[0].task.name}}\\n")

@strategy("counted")
def counted(): return [Counted()]
"""


def test_two_processes_on_one_store_train_no_stage_twice(
    tiny: Callable[..., str], results: Path, tmp_path: Path
) -> None:
    plugin, log = tmp_path / "counted.py", tmp_path / "trained.txt"
    plugin.write_text(COUNTED.format(file=str(log)))
    code = (
        "from cl_bench.runner.prepare import prepare; from cl_bench.runner.run import train;"
        f"prepared = prepare({tiny()!r}, strategies=['counted'],"
        f"plugin_files=[{str(plugin)!r}]); print(len(train(prepared)), len(prepared.missing()))"
    )
    said = [tmp_path / "a.txt", tmp_path / "b.txt"]
    codes = [ended(process) for process in [begin(code, file) for file in said]]
    assert codes == [0, 0], [errors(file) for file in said]
    assert [file.read_text().splitlines()[-1] for file in said] == ["0 0", "0 0"], (
        "neither ends before all stages are there"
    )
    assert log.read_text().split() == ["det", "cls"], "each was trained once"
    assert len(list((results / "stages").glob("*/stage.json"))) == 5
    assert not list((results / "stages").glob(".draft*"))


def test_a_worker_that_cannot_be_set_up_says_why(
    tiny: Callable[..., str], results: Path, faulty: Callable[[str], Path]
) -> None:
    file = faulty("pass")
    prepared = prepare(tiny(), strategies=["faulty", "naive"], plugin_files=[file])
    file.write_text("raise RuntimeError('not in a worker')")
    failed = train_missing(prepared, Workers(2))
    assert {failure.kind for failure in failed.values()} == {"raised", "skipped"}
    assert any("not in a worker" in failure.reason for failure in failed.values())


def test_a_worker_has_the_environment_of_now_and_could_use_a_gpu(
    tiny: Callable[..., str], results: Path, faulty: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_server()
    monkeypatch.setenv("SET_SINCE", "is here")
    file = faulty("pass")
    prepared = prepare(tiny(), strategies=["faulty"], plugin_files=[file])
    # CUDA refuses a process that was forked from one that has looked for it, GPU or none.
    told = "f'{os.environ[\"SET_SINCE\"]}, {torch.cuda._is_in_bad_fork()}'"
    file.write_text(f"import os, torch\nraise RuntimeError({told})")
    failed = train_missing(prepared, Workers(2))
    assert any("is here, False" in failure.reason for failure in failed.values())


def test_workers_that_cannot_be_started_are_told_in_a_sentence(
    tiny: Callable[..., str], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(process: BaseProcess) -> None:
        raise OSError("no process is left")

    monkeypatch.setattr(BaseProcess, "start", start)
    with pytest.raises(StageFailedError, match="no worker process can be started"):
        train_missing(prepare(tiny()), Workers(2))


def test_a_pool_that_is_dead_ends_the_run_though_it_tells_of_nothing_that_it_was_given(
    tiny: Callable[..., str], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dead:
        active = False

        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def schedule(self, *_: Any, **__: Any) -> Future[Any]:
            return Future()

        def stop(self) -> None:
            pass

        join = stop

    monkeypatch.setattr("cl_bench.runner.executors.local.ProcessPool", Dead)
    prepared = prepare(tiny())
    began = time.monotonic()
    with pytest.raises(StageFailedError, match="no worker process can be started"):
        train_missing(prepared, Workers(2))
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("piped", [False, True])
def test_a_script_that_trains_when_it_is_imported_ends_with_a_sentence(tmp_path: Path, piped: bool) -> None:
    script = 'import cl_bench\ncl_bench.run("check", workers=2)\n'
    (tmp_path / "script.py").write_text(script)
    ran = subprocess.run(
        [sys.executable, "-" if piped else str(tmp_path / "script.py")],
        input=script if piped else "",
        env={**os.environ, "CL_BENCH_RESULTS": str(tmp_path / "results"), "CL_BENCH_STORE": str(tmp_path / "store")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.count("StageFailedError: no worker process can be started") == 1
