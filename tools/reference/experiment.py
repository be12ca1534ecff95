"""The keys of an experiment's YAML, from the schema."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from cl_bench.config import schema
from tools.reference.text import code, docs_of, table
from tools.reference.text import page as whole_page

OF_FILES = {
    "extends": (
        "a preset or a file",
        "",
        "This file says only what differs from it, by dotted keys, too.",
    ),
    "sweep": ("lists, by dotted key", "", "Values to try; `cl-bench run` trains every combination."),
}
"""Keys of a file that are resolved before there is an experiment: what they take, their default, what they mean."""

PLAIN = {
    "name": "What results and stages go by.",
    "description": "A line for `cl-bench list experiments`.",
    "tasks": "The tasks, each with keys of its own (below).",
    "kind": "segmentation, detection, classification, keypoints, or one of yours.",
    "classes": "Class names; null: all that the data has.",
    "predictor": "Which of the kind's predictors; null: its first.",
    "corruption": "What is done to every image: another domain (below).",
    "seeds": "A run for each.",
    "model": "The one model (below).",
    "backbone": "A timm model.",
    "neck_channels": "Channels of the feature pyramid.",
    "shared_channels": "Channels of the shared layer.",
    "learning_rate": "Of AdamW, at the start of the cosine.",
    "weight_decay": "Of AdamW.",
    "epochs": "Of a task.",
    "batch_size": "Images of the task at hand in a step.",
    "augment": "How training images are changed (below).",
    "evaluation_batch": "Images of a forward pass when scoring.",
    "device": "cpu, cuda, or cuda:1.",
    "precision": "Of forward passes and losses; weights are float32.",
    "resources": "What a stage takes of a Ray cluster (below).",
    "num_gpus": "A share lets stages share one.",
    "severity": "From mild to strong.",
}
"""What keys mean that the schema leaves to their names."""


def page() -> str:
    """Return the page."""
    parts = [
        "## The experiment",
        _keys(schema.Experiment, tuple(schema.Protocol.model_fields)),
        "## The protocol",
        "How a task is trained. The experiment sets it for all tasks; a task may set its own.",
        _rows(schema.Protocol, schema.Protocol.model_fields),
        "## A task (`tasks`)",
        _keys(schema.TaskConfig, tuple(schema.Protocol.model_fields)),
        "## Augmentation (`augment`)",
        _rows(schema.Augment, schema.Augment.model_fields),
        "## Another domain (`corruption` of a task)",
        _rows(schema.Corruption, schema.Corruption.model_fields),
        "## The model (`model`)",
        _rows(schema.ModelConfig, schema.ModelConfig.model_fields),
        "## Resources (`resources`)",
        _rows(schema.Resources, schema.Resources.model_fields),
        "## Of the file",
        table(("key", "takes", "default", "meaning"), [(code(key), *told) for key, told in OF_FILES.items()]),
    ]
    opening = (
        "For whoever writes an experiment. Every key of its YAML. At a run, `--set KEY=VALUE` changes one; keys of a"
        " task are written `tasks.NAME.KEY`."
    )
    return whole_page("Experiment", opening, *parts)


def _keys(model: type[BaseModel], but: Iterable[str]) -> str:
    return _rows(model, [name for name in model.model_fields if name not in set(but)])


def _rows(model: type[BaseModel], names: Iterable[str]) -> str:
    described = model.model_json_schema()
    docs = docs_of(model)

    def rows() -> Iterator[tuple[str, str, str, str]]:
        for name in names:
            field = described["properties"][name]
            meaning = field.get("description") or docs.get(name) or PLAIN.get(name)
            if not meaning:
                raise LookupError(f"nothing says what the key {name} of {model.__name__} means")
            yield code(name), _takes(field, described), _default(model, name), " ".join(meaning.split())

    return table(("key", "takes", "default", "meaning"), rows())


def _default(model: type[BaseModel], name: str) -> str:
    field = model.model_fields[name]
    if field.is_required():
        return "needed"
    default = field.get_default(call_default_factory=True)
    return "" if isinstance(default, BaseModel) else code(json.dumps(default))


def _takes(field: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    """Return in words what a JSON schema allows."""
    if "anyOf" in field:
        return " or ".join("null" if one.get("type") == "null" else _takes(one, described) for one in field["anyOf"])
    if "$ref" in field or "allOf" in field:
        return "keys of its own"
    if "enum" in field:
        return ", ".join(code(one) for one in field["enum"])
    if "prefixItems" in field:
        return f"[{', '.join(_takes(one, described) for one in field['prefixItems'])}]"
    if field.get("type") == "array":
        return f"list of {_takes(field['items'], described)}"
    names = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}
    return names.get(field.get("type", ""), "keys of its own") + _bounds(field)


def _bounds(field: Mapping[str, Any]) -> str:
    words = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
    words["multipleOf"] = "a multiple of {}"
    said = [text.format(f"{field[key]:g}") for key, text in words.items() if key in field]
    return f", {', '.join(said)}" if said else ""
