"""What was given as torch data sets: images and targets as `cl_bench.data.given` has written them to the cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from cl_bench.data.base import Example, Split
from cl_bench.data.formats.reading import chosen, ordered, parse_options
from cl_bench.data.given import KINDS, read_index, target_of
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.plugins.registry import formats


class Options(BaseModel, frozen=True, extra="forbid", strict=True):
    """By part, what its data set goes by in the cache; `all`: one data set, to be divided by `split_off`."""

    train: str = ""
    val: str = ""
    test: str = ""
    all: str = ""


@formats.register
class TorchDataset:
    """torch data sets given from Python (`data={"train": ..., "val": ...}`), read from the cache."""

    name = "torch_dataset"
    kinds: tuple[str, ...] = KINDS
    embedded = True

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split`; the classes are those that the data set names, else its numbers.

        `classes` may be some of them and, where the data set names none, names them. Raises UserError for a part that
        was not given, and for data that are in the cache no more.
        """
        digest = getattr(parse_options(self.name, Options, options), split)
        if not digest:
            raise UserError(f"no data set was given as {split!r}: data={{'train': ..., 'val': ...}} names them")
        folder, index = read_index(digest)
        own, numbers = tuple(index["classes"]), [int(number) for number in index["numbers"]]
        if classes is not None and not index["named"]:
            if len(classes) < len(own):
                raise UserError(f"a data set of {len(own)} classes cannot be of {len(classes)}: {', '.join(classes)}")
            own, numbers = classes, list(range(numbers[0], numbers[0] + len(classes)))
        names = chosen(classes, lambda: own)
        for name in names:
            if name not in own:
                raise unknown_name_error("class of the data set", name, own)
        labels = {numbers[own.index(name)]: label for label, name in enumerate(names)}
        found = ((place, target_of(folder, kind, row, labels, own, names)) for place, row in enumerate(index["rows"]))
        examples = [
            Example(f"{place:06d}", folder / index["rows"][place]["image"], target)
            for place, target in found
            if target is not None
        ]
        notes = [f"left out {len(own) - len(names)} of {len(own)} classes, as asked"] if len(names) < len(own) else []
        return Split(names, ordered(examples, folder), tuple(notes))

    def has_test(self, options: Mapping[str, Any], kind: str) -> bool:
        """Return whether a data set was given as `test`."""
        return bool(options.get("test"))
