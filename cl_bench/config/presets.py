"""Experiments as files: presets, files that extend others, and changes from outside."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel

from cl_bench.config.names import both_names, former_keys, preset_name
from cl_bench.config.origin import PLAN, beside, experiment_of
from cl_bench.config.schema import Experiment, validate
from cl_bench.errors import RenamedWarning, UserError, unknown_name_error
from cl_bench.utils.parsing import load_yaml
from cl_bench.utils.paths import names_of_results, results_root

Source: TypeAlias = "str | Path | Mapping[str, Any] | Experiment"
"""A preset's name, a YAML file, what such a file would hold, or an experiment itself."""


def presets() -> dict[str, Path]:
    """Return the experiments that ship with the package: name -> file."""
    import cl_bench.experiments

    folders = [Path(folder) for folder in cl_bench.experiments.__path__]
    found = [path for folder in folders for path in folder.glob("*.yaml")]
    return {path.stem: path for path in sorted(found, key=lambda path: path.stem)}


def source_name(source: Source) -> str:
    """Return how errors name `source`."""
    return "the experiment" if isinstance(source, Mapping | Experiment) else str(source)


def load_experiment(source: Source, changes: Mapping[str, Any] | Sequence[str] = ()) -> Experiment:
    """Read an experiment and apply changes.

    source: a preset's name, a YAML file, a mapping as such a file holds it, or an experiment;
    changes: a mapping from dotted keys to values, or `key=value` texts as `--set` takes them (the value is YAML);
    `tasks.NAME.key` reaches into one task. Raises UserError naming the file and the key, or --set (of a mapping:
    changes) and the key.
    """
    how = "changes" if isinstance(changes, Mapping) else "--set"
    where, content = _content(source)
    pairs = list(changes.items() if isinstance(changes, Mapping) else map(parse_change, changes))
    for key, value in pairs:
        if key.partition(".")[0] == "sweep" and value:
            raise UserError(f"{how} sweep: on the command line, --sweep KEY=VALUE,VALUE does that")
        _apply(content, key, value, how)
    for sentence in former_keys(content.get("tasks")):
        warnings.warn(sentence, RenamedWarning, stacklevel=1)
    if content.pop("sweep", None):
        raise UserError(
            f"{where} sweeps, which is many experiments: `cl-bench run` trains all, and each has a name of its own"
        )
    return validate(content, where, changed={key for key, _ in pairs}, how=how)


def _content(source: Source) -> tuple[str, dict[str, Any]]:
    """Return how errors name `source`, and a copy of what it says that may be changed."""
    if isinstance(source, Mapping | Experiment):
        where = source_name(source)
        return where, _extended({str(key): _plain(value) for key, value in dict(source).items()}, where)
    path = _find(str(source), results=True)
    content = _read(path)
    content.setdefault("name", path.stem)
    return str(path), content


def swept(name_or_path: str) -> dict[str, list[str]]:
    """Return the values, as YAML, of each dotted key that the experiment's `sweep` names.

    Raises UserError naming the file where it is no mapping from settings to lists.
    """
    path = _find(name_or_path, results=True)
    found = _read(path).get("sweep", {})
    if not isinstance(found, dict) or not all(isinstance(values, list) and values for values in found.values()):
        raise UserError(f"{path}: sweep takes lists of values by dotted keys, as in {{tasks.det.epochs: [12, 24]}}")
    if own := {"name", "sweep"} & found.keys():
        raise UserError(f"{path}: sweep: {min(own)} is no setting to sweep")
    return {str(key): [json.dumps(value, default=str) for value in values] for key, values in found.items()}


def name_of(path: Path) -> str:
    """Return the name of the experiment that `path`, a YAML file, describes; of any other path, its last part."""
    if path.suffix not in (".yaml", ".yml"):
        return path.name
    if not os.path.isfile(path):
        return path.stem
    return str(_read(path).get("name", path.stem))


def _find(name_or_path: str, folder: Path = Path(), results: bool = False) -> Path:
    """Return the file of an experiment; results: the plan.json of results of this name, too, where no preset has it."""
    path = folder / Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not os.path.isfile(path):  # which is False for a name that no file system takes
            raise UserError(f"experiment file {path.absolute()} does not exist")
        return path
    known = presets()
    if (name := preset_name(name_or_path)) in known:
        return known[name]
    ran = names_of_results() if results else []
    if name_or_path in ran:
        return results_root() / name_or_path / PLAN
    file = path.parent / f"{path.name}.yaml"
    if path.name and os.path.isfile(file):
        raise UserError(f"unknown experiment {name_or_path!r}; did you mean the file {file}?")
    raise unknown_name_error("experiment", name_or_path, both_names([*known, *ran]))


def _read(path: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return what the file says over what those that it `extends` say; below: the files that led here."""
    if path.name == PLAN:
        return experiment_of(path)
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not readable YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a mapping of settings")
    return _extended(beside(content, path.parent), str(path), path.parent, (*below, path.resolve()))


def _plain(value: Any) -> Any:
    """Return what a file would hold in place of a part of an experiment that was built in Python."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value


def _extended(
    content: dict[str, Any], where: str, folder: Path = Path(), below: tuple[Path, ...] = ()
) -> dict[str, Any]:
    """Return `content`, which lies in `folder`, over what those say that it `extends`."""
    if "extends" not in content:
        return content
    extended = content.pop("extends")
    first, *others = extended if isinstance(extended, list) and extended else [extended]
    inherited = _base(first, where, folder, below)
    for name in others:
        _lay_over(inherited, _base(name, where, folder, below), f"{where}:")
    _lay_over(inherited, content, f"{where}:")
    return inherited


def _base(name: Any, where: str, folder: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    """Return what the experiment `name`, which `where` extends, says of all but itself."""
    if not isinstance(name, str):
        raise UserError(f"{where}: extends must name a preset or a YAML file, or list several, not {name!r}")
    base = _find(name, folder)
    if base.resolve() in below:
        raise UserError(f"{where}: extends {name}, which extends this file")
    return {key: value for key, value in _read(base, below).items() if key not in ("name", "description", "sweep")}


def _lay_over(content: dict[str, Any], own: Mapping[str, Any], where: str) -> None:
    for key, value in own.items():
        _apply(content, str(key), value, where)


def parse_change(text: str, what: str = "--set") -> tuple[str, Any]:
    """Return key and value of a `key=value` whose value is YAML; what: the option that it is given to."""
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise UserError(f"{what} takes key=value, not {text!r}")
    try:
        return key.strip(), load_yaml(value)
    except ValueError as error:
        raise UserError(f"{what} {key}: {value!r} is not a YAML value") from error


def _apply(content: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set the dotted `key`; what leads to it is copied, as an alias in the file may share it with other places."""
    *parents, last = key.split(".")
    place: Any = content
    for parent in parents:
        index: Any = parent
        if isinstance(place, list):
            names = {task.get("name"): number for number, task in enumerate(place) if isinstance(task, dict)}
            if parent not in names:
                raise unknown_name_error("task", parent, [str(name) for name in names])
            index = names[parent]
        else:
            place.setdefault(parent, {})
        if not isinstance(place[index], (dict, list)):
            raise UserError(f"{where} {key}: {parent!r} holds no settings of its own")
        place[index] = copy(place[index])
        place = place[index]
    if isinstance(place, list):
        raise UserError(f"{where} {key}: name the task and the key, as in tasks.NAME.epochs")
    place[last] = value
