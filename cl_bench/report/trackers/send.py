"""Sends an experiment's results to the trackers that its user names (see `cl_bench.report.trackers`)."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cl_bench.errors import UserError, unknown_name_error
from cl_bench.plugins.code_origin import is_typed, source_of
from cl_bench.plugins.registry import BUILT_IN_TRACKERS, trackers
from cl_bench.report.trackers.base import Send, Tracker, tracked
from cl_bench.results.rows import read_results


def check_trackers(names: Iterable[str]) -> None:
    """Raise UserError for a tracker that there is not, or that is not installed."""
    for name in names:
        _sender(name)


def send_results(folder: Path, names: Iterable[str], split: str = "") -> dict[str, str]:
    """Send the results in `folder` to each tracker, and return where each has them; what it has is not sent again.

    split: of which part table and figures are, as in `Results.chosen`. Raises UserError where a tracker does not take
    the results: they are stored all the same.
    """
    # Not before something is sent: matplotlib takes a second.
    from cl_bench.report.figures.draw import figures
    from cl_bench.report.figures.style import save

    results, places = read_results(folder), {}
    drawings = figures(results.chosen(split)).items()
    with tempfile.TemporaryDirectory() as drawn:
        paths = [path for stem, figure in drawings for path in save(figure, drawn, stem)]
        content = tracked(results, [path for path in paths if path.suffix == ".png"], split)
        for name in names:
            try:
                places[name] = _sender(name)(content, folder)
            except Exception as error:  # whatever a tracker's library or its server raises
                raise UserError(
                    f"tracker {name} did not take the results of {content.experiment}, which are stored: {error}; "
                    f"send them with cl-bench track {content.experiment} {name}{_plugin_option(name)}"
                ) from error
    return places


def _plugin_option(name: str) -> str:
    """Return what the command line must be told to know a tracker of one's own."""
    own = trackers.entries.get(name)
    return "" if own is None or is_typed(own) else f" --plugin {source_of(own)}"


def _sender(name: str) -> Send:
    if name in trackers.entries:
        return trackers.entries[name]
    if name not in BUILT_IN_TRACKERS:
        raise unknown_name_error("tracker", name, [*BUILT_IN_TRACKERS, *trackers])
    try:
        module: Tracker = importlib.import_module(f"cl_bench.report.trackers.{name}")
    except ImportError as error:
        raise UserError(f"tracker {name} needs what is not installed ({error}): pip install cl-bench[track]") from error
    return module.send
