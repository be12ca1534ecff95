"""One more task in the text of an experiment, whose comments and order stay as they are."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cl_bench.config.schema import validate
from cl_bench.errors import UserError


def with_task(file: Path, task: Mapping[str, Any]) -> str:
    """Return the text of `file` with `task` as the last of its tasks.

    Raises UserError where the file has no list of tasks, one task a line and more, where it has one of this name, and
    where it would be no experiment with it.
    """
    try:
        text = file.read_text(encoding="utf-8")
        content, node = yaml.safe_load(text), yaml.compose(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{file} is not readable YAML: {error}") from error
    listed = next((value for key, value in _pairs(node) if key.value == "tasks"), None)
    if not isinstance(listed, yaml.SequenceNode) or listed.flow_style or not listed.value:
        raise UserError(f"{file} has no list `tasks:` with a task in lines of its own, to which one could be added")
    if any(isinstance(one, dict) and one.get("name") == task["name"] for one in content["tasks"]):
        raise UserError(f"{file} has a task {task['name']!r} already; give this one another name")
    lines = text.splitlines(keepends=True)
    after = _last_line(listed)
    if not lines[after].endswith("\n"):
        lines[after] += "\n"
    item = yaml.safe_dump([dict(task)], sort_keys=False, allow_unicode=True, width=120)
    result = "".join([*lines[: after + 1], textwrap.indent(item, " " * listed.start_mark.column), *lines[after + 1 :]])
    expected = {**content, "tasks": [*content["tasks"], dict(task)]}
    if yaml.safe_load(result) != expected:
        raise UserError(f"{file} is written in a way to which no task can be added; add this one by hand: {dict(task)}")
    if "extends" not in content:
        validate({"name": file.stem, **expected}, str(file))
    return result


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _last_line(node: yaml.Node) -> int:
    """Return the line, from 0 on, that the last thing in `node` stands on; a block's own end is behind comments."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    end = node.end_mark
    return end.line if end.column else end.line - 1
