"""Progress: on a terminal a bar with the time left, in a log a line a minute at most; and what is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cl_bench.results.store.failures import Failure

NEWS = {
    "damaged": "its files are damaged, or of an older version; it is trained again",
    "busy": "another process is training it",
    "differs": "trained again, it scores otherwise than in the results it was added to, as on another processor;"
    " rows of runs that start from either stand side by side",
}
"""What is said of a stage beside that it is done or failed."""
_QUIET = 60
"""Seconds after which a log is told how far a stage is."""


class StageProgress:
    """Shows the training of `stages`: key -> (label, steps)."""

    def __init__(
        self, stages: Mapping[str, tuple[str, int]], scores: Callable[[str], str] = lambda _: "", quiet: bool = False
    ) -> None:
        """Begin with none done; scores: says, by key, what a stage that is done scored; quiet: show failures alone."""
        self._stages, self._scores = stages, scores
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),  # brackets are settings here
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._all = self._bars.add_task("all stages", total=sum(steps for _, steps in stages.values()))
        self._running: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}
        self._finished = 0
        self._started: dict[str, float] = {}
        self._told: set[tuple[str, str]] = set()
        self._spoke = time.monotonic()

    def __enter__(self) -> StageProgress:
        self._bars.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bars.stop()

    def step(self, key: str, done: int, total: int) -> None:
        """Take note that a stage has `done` of `total` steps behind it."""
        if key not in self._running:
            self._started[key] = time.monotonic()
            self._running[key] = self._bars.add_task(self._label(key), total=total)
        self._bars.update(self._running[key], completed=done)
        self._done[key] = done
        self._bars.update(self._all, completed=sum(self._done.values()))
        if not self._console.is_terminal and time.monotonic() - self._spoke > _QUIET:
            self._say(f"{self._label(key)}: {done} of {total} steps")

    def report(self, key: str, state: str | Failure) -> None:
        """Print a line for a stage that is done or failed."""
        label = self._label(key)
        if isinstance(state, str) and state in NEWS and (key, state) not in self._told:
            self._told.add((key, state))
            self._say(f"{label}: {NEWS[state]}")
        if state in ("started", *NEWS):
            return
        self._finished += 1
        # A cluster reports no steps, and so not when it began.
        what = f"done in {time.monotonic() - self._started[key]:.0f} s" if key in self._started else "done"
        if isinstance(state, Failure):
            what = f"{state.kind.upper()}: {state.reason}"
        elif scores := self._scores(key):
            what = f"{what}: {scores}"
        self._say(f"[{self._finished}/{len(self._stages)}] {label}: {what}", isinstance(state, Failure))
        if key in self._running:
            self._bars.update(self._running[key], visible=False)

    def _label(self, key: str) -> str:
        return self._stages[key][0] if key in self._stages else key[:12]

    def _say(self, line: str, failed: bool = False) -> None:
        self._spoke = time.monotonic()
        if self._quiet and not failed:
            return
        # A log has no width: whoever searches it finds whole lines.
        self._console.print(line, markup=False, highlight=False, soft_wrap=not self._console.is_terminal)


@contextmanager
def download_progress(quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that shows a download: (name, bytes done, bytes in all)."""
    columns = ("{task.description}", BarColumn(), "{task.percentage:>3.0f} %", TimeRemainingColumn())
    bars = Progress(*columns, disable=quiet)
    known: dict[str, TaskID] = {}

    def show(name: str, done: int, total: int) -> None:
        if name not in known:
            known[name] = bars.add_task(name, total=total or None)
        bars.update(known[name], completed=done, total=total or None)

    with bars:
        yield show
