"""The keys of an experiment's YAML, as `cl-bench explain` has them."""

from __future__ import annotations

from collections.abc import Iterable

from cl_bench.config.keys import OF_FILES, Key, keys
from cl_bench.config.names import KEPT_AS
from cl_bench.config.presets import load_experiment, presets
from tools.reference.text import code, table
from tools.reference.text import page as whole_page


def page() -> str:
    """Return the page."""
    known = [key for key in keys().values() if key not in OF_FILES]
    whole = [key for key in known if "." not in key.name]
    parts = [
        "## The experiment",
        _table(key for key in whole if not key.of_tasks),
        "## The protocol",
        "How a task is trained. The experiment sets it for all tasks; a task may set its own.",
        _table(key for key in whole if key.of_tasks),
        "## A task (`tasks`)",
        _below("tasks.NAME", known),
        "## Augmentation (`augment`)",
        _below("augment", known),
        "## Another domain (`corruption` of a task)",
        _below("tasks.NAME.corruption", known),
        "## The model (`model`)",
        _below("model", known),
        "## Resources (`resources`)",
        _below("resources", known),
        "## Of the file",
        _table(OF_FILES),
        "## Presets",
        "`cl-bench run NAME` takes these names. Results are kept under the name that a preset had first, which goes on"
        " working.",
        _presets(),
    ]
    opening = (
        "For whoever writes an experiment. Every key of its YAML. At a run, `--set KEY=VALUE` changes one; keys of a"
        " task are written `tasks.NAME.KEY`."
    )
    return whole_page("Experiment", opening, *parts)


def _presets() -> str:
    rows = [(code(name), code(KEPT_AS.get(name, "")), load_experiment(name).description) for name in presets()]
    return table(("preset", "had first", "what it is"), rows)


def _below(section: str, known: Iterable[Key]) -> str:
    return _table(key for key in known if key.name.rpartition(".")[0] == section)


def _table(shown: Iterable[Key]) -> str:
    rows = [
        (code(key.name.rpartition(".")[2]), key.takes, "needed" if key.needed else code(key.default), key.means)
        for key in shown
    ]
    return table(("key", "takes", "default", "meaning"), rows)
