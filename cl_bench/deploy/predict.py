"""Every task's answer to an image from one forward pass: drawn, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from cl_bench.data.formats.reading import IMAGE_SUFFIXES, visible
from cl_bench.data.images import decode_image, open_image
from cl_bench.deploy.inputs import as_images
from cl_bench.deploy.runtimes import eager
from cl_bench.deploy.trained import Trained
from cl_bench.errors import UserError
from cl_bench.utils.files import make_writable, replacing, write_whole


def predict(trained: Trained, source: Path, output: Path) -> Iterator[Path]:
    """Write NAME.png and NAME.json for an image, or for every image of a folder, into `output`; yield their paths.

    Raises UserError where there is no image, where `output` is the folder of the images and something there has the
    name of an answer, or, at the end, where some images cannot be read.
    """
    images = _images(source)
    twins = {file.stem for file in images if [other.stem for other in images].count(file.stem) > 1}
    names = {file: file.name if file.stem in twins else file.stem for file in images}
    _refuse_to_overwrite(names, output)
    forward = eager(trained.deployed(), torch.get_num_threads())
    broken: list[UserError] = []
    for file in images:
        name = names[file]
        try:
            picture, pixels = open_image(file), decode_image(file, trained.image_size)
        except UserError as error:
            broken.append(error)
            continue
        outputs = forward(as_images([pixels]))
        drawn, answers = _answered(trained, picture, [torch.from_numpy(one) for one in outputs])
        with replacing(make_writable(output) / f"{name}.png") as target:
            drawn.save(target, "PNG")
        yield output / f"{name}.png"
        content = {"image": file.name, "size": list(picture.size), "model": trained.origin, "answers": answers}
        yield write_whole(output / f"{name}.json", (json.dumps(content, indent=1) + "\n").encode())
    if broken:
        more = f" (and {len(broken) - 1} more of {len(images)} images)" if len(broken) > 1 else ""
        raise UserError(f"{broken[0]}{more}")


def _images(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    images = [file for file in visible(source) if file.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise UserError(f"{source} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return images


def _refuse_to_overwrite(names: Mapping[Path, str], output: Path) -> None:
    for file, name in names.items():
        for target in (output / f"{name}.png", output / f"{name}.json"):
            if target.exists() and target.resolve().parent == file.resolve().parent:
                raise UserError(f"{target} is there already, beside the image: name another folder with --output")


def _answered(
    trained: Trained, picture: Image.Image, outputs: list[torch.Tensor]
) -> tuple[Image.Image, dict[str, Any]]:
    drawn, answers = picture, {}
    # Masks cover, so they are drawn before what they would hide.
    order = sorted(zip(trained.model.tasks, outputs, strict=True), key=lambda pair: pair[0].kind.decode_target is None)
    for task, output in order:
        found, answers[task.name] = task.kind.answer(task, output, picture.size)
        drawn = task.kind.draw(drawn, found, task.classes)
    return drawn, {task.name: answers[task.name] for task in trained.model.tasks}
