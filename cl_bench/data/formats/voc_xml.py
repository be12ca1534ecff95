"""PASCAL VOC detection: an XML of objects an image, in the official tree or beside the images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from cl_bench.data.base import Example, Split
from cl_bench.data.formats.box_rows import SIZE_CURE, Labelled, image_notes
from cl_bench.data.formats.box_tally import Tally
from cl_bench.data.formats.reading import (
    IMAGE_SUFFIXES,
    by_stem,
    chosen,
    data_folder,
    files_below,
    missing,
    ordered,
    visible,
)
from cl_bench.data.formats.texts import exists_as_file, parse_number, read_list
from cl_bench.data.images import image_size
from cl_bench.data.layouts import ALL, NAMES, Layout, part_folder, parts, refuse, split_of, standing_for
from cl_bench.errors import unknown_name_error
from cl_bench.plugins.registry import formats

CURE = "an object has a name and a bndbox of xmin, ymin, xmax, ymax, in pixels from 1 on"


@formats.register
class VocXml:
    """`path/` or `path/VOCdevkit/VOC*/` with Annotations, JPEGImages, ImageSets/Main; or XML beside images, by split.

    Pixels are counted from 1, as VOC does, and both corners are part of a box: (1, 1, 1, 1) is the first pixel. An
    object that is marked as difficult counts as neither hit nor miss: as a crowd of COCO's, by how much of a box lies
    in it, not by VOC's own rule.
    """

    name = "voc_xml"
    kinds: tuple[str, ...] = ("detection",)

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split`; each target is the `Boxes` of the classes asked for, by default all that it names, sorted.

        Raises UserError, naming them all at once, for images without an XML, XML without an image, and what is broken
        in them.
        """
        root = data_folder(self, options, kind)
        pairs = _pairs(root, split)
        if pairs is None:
            raise missing(f"{root / split} with XML beside images (nor Annotations of a VOC tree with it)", options)
        refuse(
            [f"{path} does not exist" for pair in pairs for path in pair if not exists_as_file(path)], "each needs both"
        )
        found = [_parsed(xml, image) for image, xml in pairs]
        refuse([problem for one in found for problem in one.problems], CURE)
        refuse([one.misfit for one in found if one.misfit], SIZE_CURE)
        known = {name for one in found for name, *_ in one.objects}
        names = chosen(classes, lambda: sorted(known))
        if split == "train":
            for name in names:
                if name not in known:
                    raise unknown_name_error(f"class for the objects of {pairs[0][1].parent}:", name, known)
        tally = Tally(pairs[0][1].parent, CURE)
        for one in found:
            one.give(tally, {name: label for label, name in enumerate(names)})
        tally.check()
        examples = [Example(one.image.name, one.image.path, one.image.boxes()) for one in found]
        hard = image_notes([one.image for one in found], "difficult")
        notes = (*tally.notes(), *hard, *_other_names(found), *_unread(root, split, pairs))
        return Split(names, ordered(examples, root), notes)

    def has_test(self, options: Mapping[str, Any], kind: str) -> bool:
        """Return whether there are test images with XML: those of VOC 2012 itself were published without."""
        return _labelled(data_folder(self, options, kind), "test")

    def layouts(self, root: Path) -> Iterator[Layout]:
        """Yield the detection that `root` has where XML of objects are in it."""
        there = {split: _labelled(root, split) for split in NAMES}
        if splits := parts(there):
            tree = _tree(root)
            how = f"{_texts(tree).name} and {_folder(tree).name}" if tree else "XML beside the images"
            yield Layout("detection", splits, how)


@dataclass
class _Parsed:
    """The objects of one XML: name, left, top, right, bottom from 0 on, and whether it is difficult."""

    xml: Path
    image: Labelled
    misfit: str = ""
    filename: str = ""
    """The image that the XML names, "" where it names none."""
    objects: list[tuple[str, tuple[float, ...], bool]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, one: ElementTree.Element) -> str:
        """Add an object; return what is wrong with it."""
        name, hard = _text(one, "name"), _text(one, "difficult")
        try:
            left, top, right, bottom = (parse_number(_text(one, f"bndbox/{side}")) for side in _SIDES)
        except ValueError:
            return "has no bndbox of four numbers"
        if not name:
            return "has no name"
        if hard not in ("0", "1", "") or len(one.findall("difficult")) > 1:
            return f"has {hard[:60]!r} as difficult, which is 0 or 1"
        self.objects.append((name, (left - 1, top - 1, right, bottom), hard == "1"))
        return ""

    def give(self, tally: Tally, labels: Mapping[str, int]) -> None:
        """Give the image its boxes of the classes in `labels`."""
        for place, (name, box, difficult) in enumerate(self.objects, 1):
            if name in labels:
                left, top, right, bottom = box
                normalised = max(map(abs, (left + 1, top + 1, right, bottom))) <= 1
                where = f"{self.xml} object {place} ({name})"
                tally.add(self.image, box, labels[name], difficult, where, normalised=normalised and box != PIXEL)
            else:
                tally.others += 1


def _parsed(xml: Path, image: Path) -> _Parsed:
    found = _Parsed(xml, Labelled(image.stem, image, *image_size(image)))
    try:
        root = ElementTree.fromstring(xml.read_bytes())
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:  # LookupError: its encoding
        found.problems.append(f"{xml} is not readable XML: {error}")
        return found
    for one in root.iter():
        one.tag = one.tag.rpartition("}")[2]  # whatever namespace its tool puts names into
    found.misfit, found.filename = _misfit(root, xml, found.image), _text(root, "filename")
    if lost := sum(1 for _ in root.iter("bndbox")) - sum(
        len(one.findall(".//bndbox")) for one in root.findall("object")
    ):
        found.problems.append(f"{xml} has {lost} bndbox outside of any object")
    for place, one in enumerate(root.findall("object"), 1):
        if problem := found.add(one):
            found.problems.append(f"{xml} object {place} ({_text(one, 'name')[:60] or '?'}) {problem}")
    return found


def _other_names(found: Sequence[_Parsed]) -> Iterator[str]:
    """Yield a note of XML that name another image than the one they are read for, which their own name decides."""
    others = [one for one in found if one.filename and not _is_of(one.filename, one.image)]
    if others:
        first = f"{others[0].xml.name} names {others[0].filename}"
        yield f"{len(others)} XML name another image than that of their own name, which counts: {first}"


def _unread(root: Path, split: str, pairs: Sequence[tuple[Path, Path]]) -> Iterator[str]:
    """Yield notes of what a tree without lists holds and is not read: images without XML, and XML in folders."""
    tree = _tree(root)
    if tree is None or split != ALL:
        return
    known = {path for pair in pairs for path in pair}
    images = [one for one in visible(_folder(tree)) if one.suffix.lower() in IMAGE_SUFFIXES and one not in known]
    if images:
        yield f"{len(images)} images have no XML and are not read, such as {images[0].name}"
    if texts := [one for one in files_below(_texts(tree)) if one.suffix == ".xml" and one not in known]:
        yield f"{len(texts)} XML in folders are not read, such as {texts[0].relative_to(tree)}"


def _is_of(filename: str, image: Labelled) -> bool:
    """Return whether `filename`, in which tools of any system write folders, and some no ending, is the image's."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    return name in (image.path.name, image.name) or Path(name).stem == image.name


def _misfit(root: ElementTree.Element, xml: Path, image: Labelled) -> str:
    """Return what is wrong with the size that an XML declares; some tools write 0 for a size that they do not know."""
    try:
        width, height = (round(parse_number(_text(root, f"size/{side}"))) for side in ("width", "height"))
    except (ValueError, OverflowError):
        return ""
    return image.misfit((width, height), str(xml)) if min(width, height) > 0 else ""


def _text(one: ElementTree.Element, path: str) -> str:
    """Return the text of the only element at `path`; "" where there is none, or more than one."""
    found = one.findall(path)
    return (found[0].text or "").strip() if len(found) == 1 else ""


PIXEL = (0, 0, 1, 1)
"""The first pixel alone, none of whose four numbers in the XML is over 1."""
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _tree(root: Path) -> Path | None:
    """Return the folder that holds Annotations and JPEGImages: `root`, or the newest year of a VOCdevkit in it."""
    years = sorted((root / "VOCdevkit").glob("VOC*"), reverse=True)
    return next((one for one in (root, *years) if any(_texts(one).glob("*.xml")) and _folder(one).is_dir()), None)


def _texts(tree: Path) -> Path:
    """Return where a tree has its XML; FiftyOne has `data` and `labels`."""
    return tree / "labels" if not (tree / "Annotations").is_dir() and (tree / "data").is_dir() else tree / "Annotations"


def _folder(tree: Path) -> Path:
    """Return where a tree has its images; many tools call it `images`, and the XML `Annotations` as VOC does."""
    return next((tree / name for name in ("JPEGImages", "images") if (tree / name).is_dir()), tree / "data")


def _pairs(root: Path, split: str) -> list[tuple[Path, Path]] | None:
    """Return each image of `split` with its XML, whether or not both are there; None where there is no such part."""
    tree = _tree(root)
    if tree is None:
        folder = root if split == ALL else part_folder(root, split)
        return _beside(folder) if folder.is_dir() and any(folder.glob("*.xml")) else None
    images = by_stem(visible(_folder(tree)))
    names = _listed(tree, split, images)
    if names is None:
        return None
    absent = _folder(tree)
    return [(images.get(name, absent / f"{name}.jpg"), _texts(tree) / f"{name}.xml") for name in names]


BOTH = "trainval"
"""VOC's list of train and val together, which is train where no list is of train alone."""


def _listed(tree: Path, split: str, known: Collection[str]) -> Sequence[str] | None:
    """Return the names of a tree's part by ImageSets/Main; all that have an XML where it lists no parts."""
    lists = tree / "ImageSets" / "Main"
    there = {path.stem: path for path in lists.glob("*.txt")}
    if split == ALL:
        divided = any(split_of(name) or name.lower() == BOTH for name in there)
        return None if divided else [xml.stem for xml in visible(_texts(tree)) if xml.suffix == ".xml"]
    names = standing_for(split, there) + [name for name in there if split == "train" and name.lower() == BOTH]
    return [_named(line, known) for line in read_list(there[names[0]])] if names else None


def _named(line: str, known: Collection[str]) -> str:
    """Return the image's name in a line of a list, which may have its ending or a mark of its class (-1, 0, 1)."""
    if line in known:
        return line
    if len(halves := line.rsplit(None, 1)) == 2 and halves[1] in ("-1", "0", "1"):
        line = halves[0]
    ending = Path(line).suffix
    return line.removesuffix(ending) if ending.lower() in IMAGE_SUFFIXES and line not in known else line


def _beside(folder: Path) -> list[tuple[Path, Path]]:
    files = visible(folder)
    images = by_stem(files)
    texts = {path.stem: path for path in files if path.suffix.lower() == ".xml"}
    return [
        (images.get(stem, folder / f"{stem}.jpg"), texts.get(stem, folder / f"{stem}.xml"))
        for stem in sorted(images.keys() | texts.keys())
    ]


def _labelled(root: Path, split: str) -> bool:
    pairs: Iterable[tuple[Path, Path]] = _pairs(root, split) or ()
    return any(exists_as_file(xml) for _, xml in pairs)
