"""Every key of an experiment's YAML: what it means, what it takes, what it is where it is not set, and an example."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from textwrap import wrap
from typing import Any

from cl_bench.config.complaints import called_here
from cl_bench.config.schema import Experiment, Protocol
from cl_bench.errors import UserError, unknown_name_error

EXAMPLES = {
    "name": "my_run",
    "description": "kd with a weight of five",
    "tasks": "[{name: cls, kind: classification, data: {format: scenes}}]",
    "tasks.NAME.name": "cls",
    "tasks.NAME.kind": "detection",
    "tasks.NAME.data": "{format: coco, path: fruit}",
    "tasks.NAME.classes": "[apple, pear]",
    "tasks.NAME.predictor": "literal",
    "tasks.NAME.head": "animals",
    "tasks.NAME.learns": "[apple]",
    "tasks.NAME.levels": "[8, 16]",
    "tasks.NAME.randomness": "cls",
    "tasks.NAME.corruption": "{name: noise, severity: 3}",
    "tasks.NAME.settings": "{iou_weight: 1.0}",
    "tasks.NAME.corruption.name": "blur",
    "orders": "[[seg, det, cls], [cls, det, seg]]",
    "strategies": '[naive, "kd[weight=5]", kd+replay]',
    "seeds": "[0, 1, 2]",
    "split": "dev",
    "model": "{backbone: mobilenetv3_small_050, weights: none}",
    "augment": "{flip: true}",
    "augment.flip": "true",
    "augment.zoom": "[0.8, 1.25]",
    "resources": "{num_gpus: 0.5}",
    "resources.num_cpus": "4",
    "trackers": "[tensorboard]",
    "device": "cuda",
    "teacher_cache": "true",
}
"""Values, as YAML, where the default tells too little."""


@dataclass(frozen=True)
class Key:
    """A key; name: dotted, with NAME for a task's; takes, default, example: as text, the latter two YAML.

    default: empty where there is none; of_tasks: a task may set it for itself; needed: it must be set.
    """

    name: str
    means: str
    takes: str
    default: str
    example: str
    of_tasks: bool = False
    needed: bool = False


OF_FILES = (
    Key(
        "extends",
        "The experiment that this file only says the differences to, a preset or a YAML file beside it; of several "
        "each goes over those before it, and the file over all.",
        "a text, or a list of texts",
        "",
        "quickstart",
    ),
    Key(
        "sweep",
        "Settings by their dotted keys, each with the values to try; `cl-bench run` trains every combination.",
        "lists by keys",
        "",
        "{tasks.det.epochs: [12, 24]}",
    ),
)
"""Keys that are of the file, and are resolved before there is an experiment."""


@cache
def keys() -> dict[str, Key]:
    """Return every key by its dotted name, in the order in which the resolved YAML has them."""
    schema = Experiment.model_json_schema()
    found = {key.name: key for key in OF_FILES}
    for name, field in _properties(schema):
        found[name] = _key(name, field, schema)
        for inner, one in _inside(field, schema):
            # What a task may set for itself is told where the experiment sets it for all.
            if name != "tasks" or inner not in Protocol.model_fields:
                dotted = f"tasks.NAME.{inner}" if name == "tasks" else f"{name}.{inner}"
                found[dotted] = _key(dotted, one, schema)
    for inner, one in _properties(schema["$defs"]["Corruption"]):
        found[f"tasks.NAME.corruption.{inner}"] = _key(f"tasks.NAME.corruption.{inner}", one, schema)
    return found


def find(name: str) -> Key:
    """Return the key that `name` means, however it is written: `lr`, `backbone`, `tasks.seg.levels`.

    Raises UserError, with the nearest key, where it means none.
    """
    known = keys()
    parts = name.strip().split(".")
    if parts[0] == "tasks" and len(parts) > 1:
        inner = parts[1:] if parts[1] in _task_keys() and len(parts) == 2 else parts[2:]
        parts = ["tasks", "NAME", *inner] if inner else ["tasks"]
    key = called_here(parts[-1]).partition(".")[0]
    for dotted in (".".join(parts), ".".join([*parts[:-1], key]), key):
        if dotted in known:
            return known[dotted]
    if parts[:2] == ["tasks", "NAME"] and parts[2] in ("data", "settings"):
        return known[f"tasks.NAME.{parts[2]}"]
    ends = [dotted for dotted in known if dotted.rpartition(".")[2] == key]
    if len(ends) == 1:
        return known[ends[0]]
    if ends:
        raise UserError(f"key {name!r} stands in several places: {', '.join(ends)}")
    short = {dotted.rpartition(".")[2]: dotted for dotted in known}
    close = get_close_matches(parts[-1], short, n=1)
    raise UserError(f"unknown key {name!r}; did you mean {short[close[0]]!r}?") if close else _unknown(name)


def _unknown(name: str) -> UserError:
    return unknown_name_error("key", name, {dotted.partition(".")[0] for dotted in keys()})


def _task_keys() -> set[str]:
    return {dotted.split(".")[2] for dotted in keys() if dotted.startswith("tasks.NAME.")} | set(Protocol.model_fields)


def _inside(field: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    place = field.get("items", field).get("$ref", "")
    if place:
        yield from _properties(schema["$defs"][place.rpartition("/")[2]])


def _properties(described: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, field in described["properties"].items():
        yield name, {**field, "needed": name in described.get("required", ())}


def _key(name: str, field: Mapping[str, Any], schema: Mapping[str, Any]) -> Key:
    default = field.get("default")
    written = "" if default is None or isinstance(default, dict) else _yaml(default)
    example = EXAMPLES.get(name) or written
    means = " ".join(str(field["description"]).split())
    takes, of_tasks = _takes(field, schema), name in Protocol.model_fields
    return Key(name, means, takes, written, example, of_tasks, needed=field["needed"])


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _takes(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return in words what a JSON schema allows."""
    if "anyOf" in field:
        return " or ".join(_takes(one, schema) for one in field["anyOf"] if one.get("type") != "null")
    if inner := [name for name, _ in _inside(field, schema)]:
        words = f"keys of its own: {', '.join(inner)}"
        return words if "$ref" in field else f"a list, each with {words}"
    if "enum" in field:
        return f"one of {', '.join(map(str, field['enum']))}"
    if "prefixItems" in field:
        return f"[{', '.join(_takes(one, schema) for one in field['prefixItems'])}]"
    if field.get("type") == "array":
        return f"a list of: {_takes(field['items'], schema)}"
    names = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "a text"}
    return names.get(field.get("type", ""), "keys of its own") + _bounds(field)


def _bounds(field: Mapping[str, Any]) -> str:
    words = {
        "minimum": "from {}",
        "exclusiveMinimum": "above {}",
        "maximum": "up to {}",
        "exclusiveMaximum": "below {}",
        "multipleOf": "a multiple of {}",
    }
    said = [text.format(f"{field[key]:g}") for key, text in words.items() if key in field]
    return f" ({', '.join(said)})" if said else ""


def description(key: Key) -> str:
    """Return what there is to know of a key, as plain text."""
    lines = [key.name, *(f"  {line}" for line in wrap(key.means, 110)), f"  takes:    {key.takes}"]
    lines += [f"  default:  {key.default}"] if key.default else []
    lines.append(f"  in YAML:  {_in_yaml(key)}")
    if key in OF_FILES:
        return "\n".join(lines)
    lines.append(f"  at a run: --set {key.name}={_quoted(key.example)}")
    if key.of_tasks:
        lines.append(f"  one task: --set tasks.NAME.{key.name}={_quoted(key.example)}")
    return "\n".join(lines)


def _in_yaml(key: Key) -> str:
    section, _, name = key.name.rpartition(".")
    if section == "tasks.NAME":
        return f"{name}: {key.example}    (of a task)"
    return f"{section.rpartition('.')[2]}: {{{name}: {key.example}}}" if section else f"{name}: {key.example}"


def _quoted(value: str) -> str:
    return f"'{value}'" if set(value) & set(' [{"') else value
