"""What lies in a folder, as a task's data: one format and kind, or a sentence that says why not one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cl_bench.config.schema import TaskConfig
from cl_bench.data.base import has_test
from cl_bench.data.cache import file_hashes
from cl_bench.data.layouts import ALL, Layout, layouts
from cl_bench.errors import UserError
from cl_bench.kinds.base import Kind
from cl_bench.plugins.registry import formats, kinds
from cl_bench.tasks.audit import Audit
from cl_bench.tasks.catalog import read_split
from cl_bench.tasks.split_off import KEY, Shares

AS_TOLD = "as told"
"""How a folder is laid out in which the format that was named sees nothing by itself."""


@dataclass(frozen=True)
class Found:
    """The format and layout of `path`, and the options of the task's data beside `path`."""

    path: Path
    format: str
    layout: Layout
    options: Mapping[str, Any]

    def data(self) -> dict[str, Any]:
        """Return the `data` block of the task."""
        return {"format": self.format, "path": str(self.path.resolve()), **self.options}


def find(path: Path, kind: str, format: str, options: Mapping[str, Any], split_off: bool) -> Found:
    """Return what `path` holds; kind, format: empty to find them out; split_off: of data without val, val and test.

    Raises UserError where nothing fits, where several do, and where there is no val and none is to be split off.
    """
    if kind:
        kinds.get(kind)
    _check_folder(path)
    name, layout = _chosen(path, kind, format, options)
    divided = _divided(path, name, layout, options) if split_off else {}
    if not split_off and "val" not in layout.splits and KEY not in options:
        there = "no splits" if layout.splits == (ALL,) else f"{' and '.join(layout.splits)} but no val"
        raise UserError(
            f"{path} ({name}: {layout.how}) has {there}; --split-off takes a tenth of each class for val, and one for "
            "test where there is none"
        )
    return Found(path, name, layout, {**layout.options, **options, **divided})


def _check_folder(path: Path) -> None:
    """Raise UserError for what is no folder, and for an export that no format reads, with the way out."""
    if path.suffix.lower() == ".zip" and path.is_file():
        raise UserError(f"{path.absolute()} is an archive: unzip it first, and name the folder")
    if not path.is_dir():
        raise UserError(f"{path.absolute()} {'is no folder' if path.exists() else 'does not exist'}")
    own = path / "annotations.xml"
    if own.is_file() and b"<annotations" in own.read_bytes()[:4096]:
        raise UserError(f"{own.absolute()} is CVAT's own XML, which is not read; export again as COCO 1.0")


def _divided(path: Path, name: str, layout: Layout, options: Mapping[str, Any]) -> dict[str, Any]:
    if layout.how == AS_TOLD:
        layout = replace(layout, splits=_readable(path, name, layout.kind, options))
    if "val" in layout.splits:
        raise UserError(f"{path} ({name}: {layout.how}) has a val already, so that --split-off would split it twice")
    if layout.splits == (ALL,):
        return {KEY: {"val": Shares().val, "test": Shares().test}}
    own = has_test(formats.get(name), {"path": str(path), **layout.options, **options}, layout.kind)
    return {KEY: {"of": "train", "val": Shares().val, "test": 0.0 if own else Shares().test}}


def _readable(path: Path, name: str, kind: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the splits of a folder in which the format sees none by itself: what it can read counts."""
    for splits in (("train", "val"), ("train",)):
        try:
            formats.get(name).read({"path": str(path), **options}, kind, splits[-1], None)
        except UserError:
            continue
        return splits
    return (ALL,)


def _chosen(path: Path, kind: str, format: str, options: Mapping[str, Any]) -> tuple[str, Layout]:
    if format and not kind and len(known := formats.get(format).kinds) == 1:
        kind = known[0]
    fitting = [
        (name, layout)
        for name, found in layouts(path, format).items()
        for layout in found
        if not kind or layout.kind == kind
    ]
    if len(fitting) > 1:
        said = "; ".join(f"{name} ({layout.kind}: {layout.how})" for name, layout in fitting)
        raise UserError(f"{path} can be read in {len(fitting)} ways: {said}; name one by --format or --kind")
    return fitting[0] if fitting else _unseen(path, kind, format, options)


def _unseen(path: Path, kind: str, format: str, options: Mapping[str, Any]) -> tuple[str, Layout]:
    """Return the format that is named, or the only one of `kind` that cannot tell what lies in a folder."""
    able = [name for name in formats if not getattr(formats.get(name), "embedded", False)]
    able = [name for name in able if not kind or kind in formats.get(name).kinds]
    if not able:
        raise UserError(
            f"no data format reads {kind} from a folder; one of your own can: --plugin, or an installed package"
        )
    silent = [name for name in able if not hasattr(formats.get(name), "layouts")]
    name = format or (silent[0] if kind and len(silent) == 1 else "")
    if not name:
        raise UserError(
            f"{path} holds nothing that {', '.join(able)} {'know' if len(able) > 1 else 'knows'} by its folders; "
            "--format names one, whose error says what it looked for"
        )
    if not kind:
        raise UserError(f"format {name} reads {', '.join(formats.get(name).kinds)}: name one by --kind")
    test = ("test",) if has_test(formats.get(name), {"path": str(path), **options}, kind) else ()
    return name, Layout(kind, ("train", "val", *test), AS_TOLD, {})


def check_classes(config: TaskConfig) -> None:
    """Raise UserError, naming all classes of the data without an example in train, and the choice that leaves them out.

    Classes of masks go by number, so that none can be left out but the last ones.
    """
    kind: Kind = kinds.get(config.kind)
    if kind.background is not None:
        _check_last_classes(config, kind)
        return
    train, val = read_split(config, "train"), read_split(config, "val")
    held = set(file_hashes([example.image for example in val.examples]))
    hashes = file_hashes([example.image for example in train.examples])
    # The audit drops what val holds too.
    own = tuple(example for example, found in zip(train.examples, hashes, strict=True) if found not in held)
    counts = dict(zip(train.classes, kind.count(replace(train, examples=own)).tolist(), strict=True))
    absent = [name for name, count in counts.items() if not count]
    if absent and len(absent) < len(counts):
        kept = ",".join(name for name, count in counts.items() if count)
        raise UserError(
            f"train of {config.name} has no example of {len(absent)} of {len(counts)} classes, but for what val "
            f"holds too: {', '.join(absent)}; --classes {shlex.quote(kept)} leaves them out"
        )


def _check_last_classes(config: TaskConfig, kind: Kind) -> None:
    """Raise UserError where masks show the first classes alone: the others are the format's usual ones."""
    train = read_split(config, "train")
    counts = kind.count(train).tolist()
    shown = next((label for label, count in enumerate(counts) if not count), len(counts))
    if 1 < shown < len(counts) and not any(counts[shown:]):
        raise UserError(
            f"masks of {config.name} hold 0 to {shown - 1} in train, and no pixel is of {len(counts) - shown} of "
            f"{len(counts)} classes: {', '.join(train.classes[shown:])}; --classes names as many as there are, such as "
            f"--classes {shlex.quote(','.join(train.classes[:shown]))}"
        )


def described(found: Found, audit: Audit) -> str:
    """Return what was found in five lines."""
    sizes = {"train": len(audit.train.examples), "val": len(audit.val.examples)}
    if audit.test is not None:
        sizes["test"] = len(audit.test.split.examples)
    classes = audit.task.classes
    shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
    of_train = "train " if found.options.get(KEY, {}).get("of") == "train" else ""
    taken = f"; split off {of_train}by class" if KEY in found.options else ""
    lines = {
        "folder": str(found.path),
        "format": f"{found.format} ({found.layout.how})",
        "kind": found.layout.kind,
        "splits": ", ".join(f"{count} {part}" for part, count in sizes.items()) + taken,
        "classes": f"{len(classes)}: {shown}",
    }
    return "\n".join(f"{key:<8} {value}" for key, value in lines.items())
