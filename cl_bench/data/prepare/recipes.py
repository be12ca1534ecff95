"""What is taken out of PASCAL VOC 2012, COCO 2017 and Imagenette, and how it is chosen: a recipe a data set."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from io import BytesIO
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cl_bench.data.prepare.fetch import Progress, fetch, file_name, has_md5, has_size
from cl_bench.errors import UserError
from cl_bench.utils.archives import extract, is_safe_path, read_all, read_members
from cl_bench.utils.files import write_whole
from cl_bench.utils.hashing import file_hash
from cl_bench.utils.paths import cache_root

SALT = "cl_bench mini data 1"
"""Part of every image's rank; another salt would be another data set."""

OFFICIAL = {"train": "train", "val": "val", "test": "val"}
"""The publishers' part that each split is taken from: of the labels of their test parts none are published."""
VOC_CLASSES = 21
COCO_CLASSES = ("person", "car", "dog", "cat", "chair", "dining table", "book", "bottle", "cup", "bird")


@dataclass(frozen=True)
class Archive:
    """An archive's address and the MD5 its publisher gives."""

    url: str
    md5: str


@dataclass(frozen=True)
class Sources:
    """Where the data come from; the defaults are the publishers' own addresses."""

    voc: Archive = Archive(
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd"
    )
    coco_annotations: Archive = Archive(
        "http://images.cocodataset.org/annotations/annotations_trainval2017.zip", "f4bbac642086de4f52a3fdda2de5fa2c"
    )
    coco_images: str = "http://images.cocodataset.org"
    """Single images are at `{coco_images}/{train2017,val2017}/FILE`."""
    imagenette: Archive = Archive(
        "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz", "e793b78cc4c9e9a4ccc0c1155377a412"
    )


@dataclass
class Job:
    """One preparation: what is asked for, and the folder that becomes the data set."""

    sources: Sources
    sizes: Mapping[str, int]
    folder: Path
    progress: Progress
    origins: list[dict[str, str]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    """SHA-256 of every image taken, so that none is taken twice, be it under another name."""

    def download(self, archive: Archive) -> Path:
        """Return the archive, fetched where it is not there yet; it is noted as an origin of the data set."""
        self.origins.append(asdict(archive))
        target = cache_root() / "downloads" / file_name(archive.url)
        return fetch(archive.url, target, has_md5(archive.md5), self.progress)

    def is_new(self, digest: str) -> bool:
        """Return whether no image of this SHA-256 was asked about before."""
        new = digest not in self.used
        self.used.add(digest)
        return new


def choose(
    candidates: Mapping[str, Iterable[Any]], classes: Iterable[Any], count: int, accept: Callable[[str], bool]
) -> list[str]:
    """Return `count` names of `candidates` (image name -> its classes), sorted, balanced over the `classes`.

    Always next is the best-ranked image of the class that has the fewest images so far; the rank is a SHA-256 of the
    name, so neither the order of the candidates nor the platform matters. `accept` may refuse an image. Raises
    UserError where the images do not suffice or a class is left without any.
    """
    labels = sorted(classes)
    ranked = sorted(candidates, key=lambda name: (hashlib.sha256(f"{SALT}/{name}".encode()).hexdigest(), name))
    members = {name: set(candidates[name]) for name in ranked}
    waiting = {label: deque(name for name in ranked if label in members[name]) for label in labels}
    covered: Counter[Any] = Counter()
    chosen, seen = list[str](), set[str]()
    while len(chosen) < count:
        ready = [label for label in labels if waiting[label]]
        if not ready:
            raise UserError(f"{count} different images are asked for, but there are only {len(chosen)}")
        name = waiting[min(ready, key=lambda label: covered[label])].popleft()
        if name not in seen and accept(name):
            chosen.append(name)
            covered.update(members[name])
        seen.add(name)
    absent = [label for label in labels if not covered[label]]
    if absent:
        raise UserError(f"no image of class {absent[0]!r} is among the {count} chosen ones")
    return sorted(chosen)


def _voc(job: Job) -> None:
    """Write {train,val,test}/NAME.jpg and NAME.png from VOC's own segmentation lists."""
    archive = job.download(job.sources.voc)
    root = "VOCdevkit/VOC2012"
    lists = {f"{root}/ImageSets/Segmentation/{part}.txt": part for part in ("train", "val")}
    names = {lists[path]: content.decode().split() for path, content in read_all(archive, lists)}
    listed = set().union(*names.values())
    images = {f"{root}/JPEGImages/{name}.jpg": name for name in listed}
    masks = {f"{root}/SegmentationClass/{name}.png": name for name in listed}
    digests: dict[str, str] = {}
    present: dict[str, set[int]] = {}
    for path, content in read_all(archive, images | masks):
        if path in images:
            digests[images[path]] = hashlib.sha256(content).hexdigest()
        else:
            present[masks[path]] = _mask_classes(path, content)
        job.progress("read the masks of VOC 2012", len(present), len(masks))
    wanted = {}
    for split, count in job.sizes.items():
        candidates = {name: present[name] for name in names[OFFICIAL[split]]}
        for name in choose(candidates, range(VOC_CLASSES), count, lambda name: job.is_new(digests[name])):
            wanted[f"{root}/JPEGImages/{name}.jpg"] = job.folder / split / f"{name}.jpg"
            wanted[f"{root}/SegmentationClass/{name}.png"] = job.folder / split / f"{name}.png"
    extract(archive, wanted)


def _mask_classes(path: str, content: bytes) -> set[int]:
    try:
        with Image.open(BytesIO(content)) as mask:
            return set(np.unique(np.asarray(mask)).tolist())
    except (OSError, SyntaxError) as error:
        raise UserError(f"mask {path} cannot be decoded: {error}") from error


def _coco(job: Job) -> None:
    """Write {train,val,test}/data/*.jpg and labels.json: COCO's own ids, the ten classes' annotations, no polygons."""
    archive = job.download(job.sources.coco_annotations)
    files = {f"annotations/instances_{part}2017.json": part for part in ("train", "val")}
    documents = {files[path]: _ten_classes(path, text) for path, text in read_all(archive, files)}
    for split, count in job.sizes.items():
        _write_coco_split(job, split, count, documents[OFFICIAL[split]])
    job.origins.append({"url": job.sources.coco_images})


def _write_coco_split(job: Job, split: str, count: int, document: dict[str, Any]) -> None:
    images = {image["file_name"]: image for image in document["images"]}
    present: dict[int, set[int]] = {image["id"]: set() for image in document["images"]}
    for annotation in document["annotations"]:
        if not annotation["iscrowd"]:
            present[annotation["image_id"]].add(annotation["category_id"])
    downloaded: dict[str, Path] = {}

    def accept(name: str) -> bool:
        downloaded[name] = _coco_image(job, OFFICIAL[split], images[name])
        job.progress(f"download {split} images of COCO 2017", len(downloaded), count)
        return job.is_new(file_hash(downloaded[name]))

    candidates = {name: present[image["id"]] for name, image in images.items()}
    names = choose(candidates, [category["id"] for category in document["categories"]], count, accept)
    for name in names:
        write_whole(job.folder / split / "data" / name, downloaded[name].read_bytes())
    chosen = {images[name]["id"] for name in names}
    labels = {
        "categories": document["categories"],
        "images": sorted((images[name] for name in names), key=itemgetter("id")),
        "annotations": [one for one in document["annotations"] if one["image_id"] in chosen],
    }
    write_whole(job.folder / split / "labels.json", json.dumps(labels, sort_keys=True).encode())


def _ten_classes(path: str, content: bytes) -> dict[str, Any]:
    # polygons are nine tenths of these 450 MB and boxes are all we need: they go while the file is being parsed
    document = json.loads(content, object_hook=lambda one: {key: one[key] for key in one if key != "segmentation"})
    categories = [category for category in document["categories"] if category["name"] in COCO_CLASSES]
    if absent := set(COCO_CLASSES) - {category["name"] for category in categories}:
        raise UserError(f"{path} has no category {min(absent)!r}")
    ids = {category["id"] for category in categories}
    annotations = [one for one in document["annotations"] if one["category_id"] in ids]
    return {
        "categories": sorted(categories, key=itemgetter("id")),
        "images": document["images"],
        "annotations": sorted(annotations, key=itemgetter("id")),
    }


def _coco_image(job: Job, part: str, image: Mapping[str, Any]) -> Path:
    name = image["file_name"]
    if not is_safe_path(name):
        raise UserError(f"the annotations of COCO {part} name the unsafe file {name!r}: refused")
    path = f"{part}2017/{name}"
    target = cache_root() / "downloads" / "coco" / path
    return fetch(f"{job.sources.coco_images}/{path}", target, has_size(image["width"], image["height"]))


def _imagenette(job: Job) -> None:
    """Write {train,val,test}/WNID/*.JPEG, as many of each class.

    Imagenette deals ImageNet's own validation images to both its parts; those left are test's, as no weights have seen
    them.
    """
    archive = job.download(job.sources.imagenette)
    pattern = re.compile(r"imagenette2-160/(train|val)/n\d{8}/[^/.][^/]*\.JPEG")
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in read_members(archive, pattern.fullmatch)}
    parts = {path: path.split("/")[1:] for path in digests}
    classes = {wnid for _, wnid, _ in parts.values()}
    wanted = {}
    for split, count in job.sizes.items():
        candidates = {
            path: [wnid]
            for path, (part, wnid, file) in parts.items()
            if (file.startswith("ILSVRC2012_val_") if split == "test" else part == split)
        }
        for path in choose(candidates, classes, count, lambda path: job.is_new(digests[path])):
            wanted[path] = job.folder.joinpath(split, *parts[path][1:])
    extract(archive, wanted)


@dataclass(frozen=True)
class Recipe:
    """How a data set is made: `write` fills the folder of its job; `test` is how many images its test part has."""

    write: Callable[[Job], None]
    test: int


RECIPES = {
    "mini_voc_seg": Recipe(_voc, 600),
    "mini_coco_det": Recipe(_coco, 430),
    "imagenette_160": Recipe(_imagenette, 300),
}
