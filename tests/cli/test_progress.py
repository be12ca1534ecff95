"""Progress in a log: whole lines, and a sign of life."""

from cl_bench.cli import progress
from cl_bench.cli.progress import StageProgress
from cl_bench.results.store.failures import Failure


def test_a_log_hears_of_long_stages_now_and_then_and_of_all_ends(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    long = "det after seg with " + "+".join(["consolidate[labels=0.0]"] * 5)
    scores = {"a": "det .833, seg .009", "b": ""}
    with StageProgress({"a": (long, 100), "b": ("cls", 100)}, scores.__getitem__) as shown:
        for key, step, second in (("a", 1, 1), ("a", 30, 59), ("a", 40, 61), ("b", 1, 90), ("b", 70, 122)):
            now[0] = second
            shown.step(key, step, 100)
        shown.report("a", "done")
        shown.report("b", "busy")
        shown.report("b", "busy")
    assert capsys.readouterr().err.splitlines() == [
        f"{long}: 40 of 100 steps",
        "cls: 70 of 100 steps",
        f"[1/2] {long}: done in 121 s: det .833, seg .009",
        "cls: another process is training it",
    ]


def test_who_wants_quiet_hears_of_failures_alone(capsys):
    with StageProgress({"a": ("seg", 100), "b": ("cls", 100)}, quiet=True) as shown:
        shown.report("a", "done")
        shown.report("b", Failure("raised", "boom", ()))
    assert capsys.readouterr().err == "[2/2] cls: RAISED: boom\n"
