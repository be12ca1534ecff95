"""One more task in the text of an experiment, whose comments and order stay as they are."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cl_bench.config.schema import validate
from cl_bench.errors import UserError

OPENS = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
CLOSES = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def description_of(names: Sequence[str]) -> str:
    """Return what an experiment of the tasks `names` is described as."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"{names[0]} alone"


def with_task(file: Path, task: Mapping[str, Any]) -> str:
    """Return the text of `file` with `task` as the last of its tasks, and with its description, where `add` wrote that.

    Raises UserError where the file has no list of tasks, one task a line and more, where it has one of this name, and
    where it would be no experiment with it.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        content, node = yaml.safe_load(text), yaml.compose(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{file} is not readable YAML: {error}") from error
    values = {key.value: (key, value) for key, value in _pairs(node)}
    if "tasks" not in values or not _is_in_lines(values["tasks"][1]):
        raise UserError(f"{file} has no list `tasks:` with a task in lines of its own, to which one could be added")
    names = [one.get("name") for one in content["tasks"] if isinstance(one, dict)]
    if task["name"] in names:
        raise UserError(f"{file} has a task {task['name']!r} already; give this one another name")
    (key, listed), told = values["tasks"], values.get("description")
    expected = {**content, "tasks": [*content["tasks"], dict(task)]}
    edits = [_inserted(text, listed, task)]
    if told and content["description"] == description_of([*map(str, names)]):
        expected["description"] = description_of([*map(str, names), task["name"]])
        edits.append((told[1].start_mark.index, told[1].end_mark.index, expected["description"]))
    result = text
    for start, end, put in sorted(edits, reverse=True):
        result = result[:start] + put + result[end:]
    if listed.start_mark.index < key.end_mark.index or _read(result) != expected:
        raise UserError(f"{file} is written in a way to which no task can be added; add this one by hand: {dict(task)}")
    if "extends" not in content:
        validate({"name": file.stem, **expected}, str(file))
    return result


def _read(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _is_in_lines(node: yaml.Node) -> bool:
    return isinstance(node, yaml.SequenceNode) and not node.flow_style and bool(node.value)


def _inserted(text: str, listed: yaml.Node, task: Mapping[str, Any]) -> tuple[int, int, str]:
    """Return where in `text` the task comes, as start and end of what it replaces, and its lines."""
    lines = text.splitlines(keepends=True)
    # An anchor stands before the first dash, on the line of the key.
    first = next(line for line in lines[listed.start_mark.line :] if line.lstrip().startswith("-"))
    item = yaml.safe_dump([dict(task)], sort_keys=False, allow_unicode=True, width=120)
    place = sum(map(len, lines[: _last_line(text, listed) + 1]))
    broken = "" if text[:place].endswith("\n") else "\n"
    return place, place, broken + textwrap.indent(item, " " * (len(first) - len(first.lstrip())))


def _last_line(text: str, listed: yaml.Node) -> int:
    """Return the line, from 0 on, that the last thing in `listed` stands on; a block's own end is behind comments."""
    depth, last = 0, listed.start_mark.line
    for event in yaml.parse(text):
        start, end = event.start_mark, event.end_mark
        assert start is not None
        assert end is not None
        if start.index < listed.start_mark.index:
            continue
        depth += isinstance(event, OPENS) - isinstance(event, CLOSES)
        if start.index < end.index and not isinstance(event, OPENS):
            last = end.line if end.column else end.line - 1
        if not depth:
            break
    return last
