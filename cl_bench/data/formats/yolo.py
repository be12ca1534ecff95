"""YOLO detection: data.yaml, and beside every image a text of class, centre and size of each box."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cl_bench.data.base import Example, Split
from cl_bench.data.formats import yolo_config
from cl_bench.data.formats.box_rows import Labelled, image_notes
from cl_bench.data.formats.box_tally import Tally
from cl_bench.data.formats.reading import IMAGE_SUFFIXES, chosen, data_folder, files_below, missing, ordered
from cl_bench.data.formats.texts import exists_as_file, parse_number, read_list, read_text, split_lines
from cl_bench.data.formats.yolo_config import with_or_without_data
from cl_bench.data.images import image_size
from cl_bench.data.layouts import SHOWN, Layout, parts, refuse
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.plugins.registry import formats

CURE = "a row is a class's number, the centre's x and y, width and height, each a share of the image in 0..1"


@formats.register
class Yolo:
    """`path/data.yaml` with `names`, `train`, `val` and `test`; labels lie in `labels/` where images are in `images/`.

    A polygon counts as the box around it. `file` names another YAML; classes.txt beside images/ and labels/ serves too.
    """

    name = "yolo"
    kinds: tuple[str, ...] = ("detection",)

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split`; each target is the `Boxes` of the classes asked for, by default those of `names`, in order.

        An image without a text, or with an empty one, has no box. Raises UserError, naming them all at once, for texts
        and rows that are broken.
        """
        root = data_folder(self, options, kind, ("file",))
        config = _config(root, options)
        if config is None:
            raise missing(f"{root / 'data.yaml'} (nor classes.txt with images/ and labels/)", options)
        names = chosen(classes, lambda: config.names)
        for name in names:
            if name not in config.names:
                raise unknown_name_error(f"class for the names of {config.file}:", name, config.names)
        if split not in config.places:
            raise UserError(f"{config.file} names no {split} images, only {', '.join(config.places) or 'none'}")
        labels = {config.names.index(name): label for label, name in enumerate(names)}
        found = _Reader(config, labels, Tally(config.file, CURE))
        images = list(_images(config.places[split]))
        _refuse_shared([image for _, image in images])
        examples = [found.example(name, image) for name, image in _named(images)]
        found.tally.check()
        notes = [*found.tally.notes(), *image_notes(found.images)]
        if config.keypoints:
            notes.append(f"keypoints are left out, the last {config.keypoints} numbers of each row")
        if lost := _without_image(config.places[split], {_text_of(one.image) for one in examples}):
            notes.append(f"{len(lost)} texts in labels have no image: {', '.join(lost[:SHOWN])}")
        return Split(names, ordered(examples, config.file), tuple(notes))

    def has_test(self, options: Mapping[str, Any], kind: str) -> bool:
        """Return whether data.yaml names test images that have texts."""
        config = _config(data_folder(self, options, kind, ("file",)), options)
        return config is not None and _labelled(config, "test")

    def layouts(self, root: Path) -> Iterator[Layout]:
        """Yield the detection that `root` has where its images have texts of boxes."""
        config = yolo_config.find(root)
        if config and (splits := parts({split: _labelled(config, split) for split in config.places})):
            yield Layout("detection", splits, f"{config.file.name}, a text of boxes an image")


@dataclass
class _Reader:
    """Reads the texts of one split; labels: a class's number -> its label in the split."""

    config: yolo_config.Config
    labels: Mapping[int, int]
    tally: Tally
    images: list[Labelled] = field(default_factory=list)

    def example(self, name: str, image: Path) -> Example:
        labelled, text = Labelled(name, image, *image_size(image)), _text_of(image)
        self.images.append(labelled)
        if text.is_file():
            self._read(text, labelled)
        return Example(name, image, labelled.boxes())

    def _read(self, text: Path, image: Labelled) -> None:
        try:
            rows_of_text = split_lines(read_text(text))
        except UserError as error:
            self.tally.problems.append(str(error))
            return
        for place, line in enumerate(rows_of_text, 1):
            if line.strip():
                self._add(_numbers(line), image, f"{text} line {place} ({line.strip()[:60]})")

    def _add(self, values: tuple[float, ...], image: Labelled, where: str) -> None:
        """Add the box of one row."""
        if self.config.keypoints:
            if len(values) not in (5, 5 + self.config.keypoints):
                self.tally.problems.append(f"{where} is not a class, a box and {self.config.keypoints} of keypoints")
                return
            values = values[:5]
        if len(values) < 5 or len(values) == 6 or (len(values) > 5 and len(values) % 2 == 0):
            self.tally.problems.append(f"{where} is neither five numbers nor a class and a polygon")
        elif values[0] not in range(len(self.config.names)):
            self.tally.problems.append(f"{where} has a class that is none of 0..{len(self.config.names) - 1}")
        elif values[0] not in self.labels:
            self.tally.others += 1
        else:
            x1, y1, x2, y2 = _corners(values[1:])
            box = (x1 * image.width, y1 * image.height, x2 * image.width, y2 * image.height)
            first, second, third, fourth = values[1:5]
            fits = len(values) == 5 and 0 <= first < third <= 1 and 0 <= second < fourth <= 1
            self.tally.add(image, box, self.labels[int(values[0])], False, where, corners=fits)


def _corners(values: tuple[float, ...]) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of a box by centre and size, or of the one around a polygon."""
    if len(values) == 4:
        x, y, width, height = values
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])


def _numbers(line: str) -> tuple[float, ...]:
    try:
        return tuple(map(parse_number, line.split()))
    except ValueError:
        return ()


def _config(root: Path, options: Mapping[str, Any]) -> yolo_config.Config | None:
    name = options.get("file")
    if name is not None and not (isinstance(name, str) and exists_as_file(root / name)):
        raise UserError(f"`file` in the data of format yolo names no file of {root}: {name!r}")
    return yolo_config.find(root, name)


def _images(places: tuple[Path, ...]) -> Iterator[tuple[Path, Path]]:
    """Yield each image, below the folder that its name is relative to."""
    for place in places:
        if place.is_dir():
            for path in files_below(place):
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    yield place, path
        else:
            yield from _of_list(place)


def _named(images: Sequence[tuple[Path, Path]]) -> Iterator[tuple[str, Path]]:
    """Yield each image with its name below its own folder or, where two folders hold one of a name, below them all."""
    bases = [Path(os.path.abspath(base)) for base, _ in images]
    short = {image.relative_to(base) for base, image in images}
    # Two files of one name and ending are told apart by nothing else.
    common = os.path.commonpath(bases) if len(short) < len({image for _, image in images}) else ""
    for (base, image), place in zip(images, bases, strict=True):
        inside = image.relative_to(base)
        name = (place / inside).relative_to(common) if common else inside
        yield name.with_suffix("").as_posix(), image


def _of_list(place: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the images that a text lists, each relative to the text's folder."""
    if not place.is_file():
        raise UserError(f"{place} is neither a folder nor a list of images")
    found = [with_or_without_data(line, lambda name: place.parent / name) for line in read_list(place)]
    lost = [f"{path} is no file" for path in found if not exists_as_file(path)]
    refuse(lost, f"{place} must list images that are there, relative to its own folder")
    for path in found:
        yield path.parent, path


def _refuse_shared(images: list[Path]) -> None:
    """Raise UserError, naming them, for images of one name that would have one text."""
    owners: dict[Path, Path] = {}
    shared = [
        f"{owners[text]} and {image.name} share {text.name}"
        for image in images
        if owners.setdefault(text := _text_of(image), image) != image and text.is_file()
    ]
    refuse(shared, "each image needs a text of its own: rename or remove one")


def _text_of(image: Path) -> Path:
    """Return where an image's boxes are: in labels/ in place of the last images/, else beside it."""
    beside, folders = _with_text(image), image.parts[:-1]
    if "images" not in folders or beside.is_file():
        return beside
    last = len(folders) - 1 - folders[::-1].index("images")
    return _with_text(Path(*folders[:last], "labels", *folders[last + 1 :], image.name))


def _with_text(image: Path) -> Path:
    """Return the text of the image's name, whose ending some systems write in capitals."""
    usual, loud = image.with_suffix(".txt"), image.with_suffix(".TXT")
    return loud if loud.is_file() and not usual.is_file() else usual


def _without_image(places: tuple[Path, ...], known: set[Path]) -> list[str]:
    """Return the names of texts in the labels/ of `places` that are of no image."""
    folders = {_text_of(place / "any.jpg").parent for place in places if place.is_dir()} - set(places)
    return sorted(
        path.name
        for folder in folders
        if folder.is_dir()
        for path in files_below(folder)
        if path.suffix.lower() == ".txt" and path not in known
    )


def _labelled(config: yolo_config.Config, split: str) -> bool:
    """Return whether an image of `split` has a text; that most have none is no reason to think otherwise."""
    places = config.places.get(split, ())
    return any(place.exists() for place in places) and any(_text_of(image).is_file() for _, image in _images(places))
