"""What is wrong with settings, in one sentence; keys that are called otherwise elsewhere are known by these names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from cl_bench.errors import unknown_name_error

ELSEWHERE = {
    "learning_rate": ("lr", "base_lr", "lr0"),
    "weight_decay": ("wd", "decay"),
    "batch_size": ("bs", "batch", "batchsize", "train_batch_size", "train_mb_size"),
    "evaluation_batch": ("eval_batch_size", "eval_mb_size", "test_batch_size"),
    "image_size": ("imgsz", "img_size", "imagesize", "size", "resolution", "input_size"),
    "epochs": ("num_epochs", "n_epochs", "max_epochs", "train_epochs"),
    "warmup_steps": ("warmup",),
    "clip_norm": ("clip", "grad_clip", "clip_grad", "gradient_clip_val"),
    "ema_decay": ("ema",),
    "seeds": ("seed",),
    "orders": ("order",),
    "strategies": ("strategy", "method", "methods", "algorithm"),
    "device": ("gpu", "cuda", "accelerator"),
    "precision": ("dtype", "amp", "fp16", "bf16"),
    "threads": ("num_threads", "cpus"),
    "trackers": ("tracker", "logger", "wandb", "tensorboard", "mlflow"),
    "schedule": ("scheduler", "lr_scheduler"),
    "split": ("eval_split",),
    "backbone": ("arch", "architecture", "encoder", "network"),
    "weights": ("pretrained", "checkpoint"),
    "data.format": ("dataset", "format"),
    "data.path": ("path", "root", "folder"),
    "kind": ("type", "task_type"),
    "randomness": ("streams",),
    "augment": ("augmentation", "augmentations", "transforms"),
}
"""Keys, and what other tools call them."""
_KEY = {name: key for key, names in ELSEWHERE.items() for name in names}


def called_here(name: str) -> str:
    """Return the key that other tools call `name`; `name` itself where they do not."""
    return _KEY.get(name.lower().replace("-", "_"), name)


def explain(
    error: ValidationError,
    known: Callable[[tuple[int | str, ...]], list[str]],
    sections: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Return the first thing that is wrong as a sentence.

    known: the keys there are where one is unknown; sections: dotted places that have keys of their own, with these.
    """
    first = error.errors()[0]
    if first["type"] == "extra_forbidden":
        outermost = len(first["loc"]) == 1
        return unknown_key(str(first["loc"][-1]), known(first["loc"]), sections or {} if outermost else {})
    place = ".".join(map(str, first["loc"]))
    message = plain(first["msg"])
    if first["type"] == "tuple_type":
        message = f"Input should be a list, not {first['input']!r}"
    if first["type"] in ("model_type", "dict_type"):
        message = f"Input should be a mapping of settings, not {first['input']!r}"
    return f"{place}: {message}" if place else message


def unknown_key(name: str, known: Sequence[str], sections: Mapping[str, Sequence[str]]) -> str:
    """Return what is said of a key that is none of the `known` ones: the nearest, or where there is one of its name."""
    key = called_here(name)
    if key.partition(".")[0] in known:
        return f"unknown key {name!r}; did you mean {key!r}?"
    for place, inner in sections.items():
        if key.partition(".")[0] in inner:
            return f"unknown key {name!r}; did you mean '{place}.{key}'?"
    return str(unknown_name_error("key", name, known))


def plain(message: str) -> str:
    """Return pydantic's `message` without what is of pydantic."""
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def place_of(error: ValidationError, content: Mapping[str, Any]) -> str:
    """Return the dotted key of the first thing that is wrong, a task by its name as `--set` has it."""
    location = list(error.errors()[0]["loc"])
    tasks = content.get("tasks")
    if location[:1] == ["tasks"] and len(location) > 1 and isinstance(tasks, (list, tuple)):
        index = location[1]
        task = tasks[index] if isinstance(index, int) and index < len(tasks) else None
        location[1] = str(task.get("name")) if isinstance(task, dict) else index
    return ".".join(map(str, location))
