"""Whatever is put in, the answer is a result or one clear sentence; `CL_BENCH_FUZZ` sets how many cases are tried."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import TINY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cl_bench.config.presets import load_experiment
from cl_bench.data.formats.voc import VOC_CLASSES
from cl_bench.data.images import decode_mask
from cl_bench.errors import UserError
from cl_bench.plugins.composition import parse
from cl_bench.plugins.registry import formats, kinds

pytestmark = pytest.mark.slow

often = settings(
    max_examples=int(os.environ.get("CL_BENCH_FUZZ", "150")),
    deadline=None,
    derandomize="CL_BENCH_FUZZ" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_subnormal=False)  # which the harness flushes to zero
    | st.text(max_size=8)
    | st.sampled_from(
        ["seg", "det", "naive", "kd", "voc", "scenes", 0, 1, -1, 1e308, 32, "8", "${HOME}", "../x", "a>b"]
    )
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | scalars, inner, max_size=3),
    max_leaves=6,
)


def survives(act: Callable[[], object]) -> bool:
    """Return whether `act` returns, or refuses in one sentence; any other exception is let through."""
    try:
        act()
    except UserError as error:
        said = str(error).strip()
        return bool(said) and "\n" not in said and "Traceback" not in said
    return True


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in nested mappings and lists."""
    found = [path] if path else []
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        found += places(value, (*path, key))
    return found


def mutated(draw: Any, content: Any) -> Any:
    """Return a copy of `content` with one to three values replaced, taken away or added."""
    changed = deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        options = places(changed)
        if not options:
            break
        *parents, last = draw(st.sampled_from(options))
        holder = changed
        for key in parents:
            holder = holder[key]
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "replace":
            holder[last] = draw(anything)
        elif action == "remove":
            del holder[last]
        elif isinstance(holder, dict):
            holder[draw(st.text(max_size=8) | st.sampled_from(["epochs", "levels", "settings", "augment"]))] = draw(
                anything
            )
        else:
            holder.append(draw(anything))
    return changed


@often
@given(data=st.data())
def test_experiments(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "experiment.yaml"
    full = {**TINY, "orders": [["seg", "det"]], "seeds": [0], "augment": {"flip": True, "zoom": [0.5, 2.0]}}
    path.write_text(yaml.safe_dump(mutated(data.draw, json.loads(json.dumps(full)))), encoding="utf-8")
    assert survives(lambda: load_experiment(str(path)))


@often
@given(text=st.text(max_size=200) | st.binary(max_size=200))
def test_experiment_files_of_any_bytes(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    assert survives(lambda: load_experiment(str(path)))


@often
@given(
    key=st.text(max_size=12) | st.sampled_from(["epochs", "tasks.seg.levels", "model", "tasks.x.y"]),
    value=st.text(max_size=12) | st.sampled_from(["2001-99-99", "!!int foo", "!!timestamp x", "~nobody/x"]),
)
def test_changes_on_the_command_line(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(TINY))
    assert survives(lambda: load_experiment(str(path), [f"{key}={value}"]))


@often
@given(
    text=st.text("kdreplay+[]=,.0123 {}'\"", max_size=30)
    | st.text(max_size=30)
    | st.sampled_from(["kd[weight=2001-99-99]", "kd[weight=!!int foo]"])
)
def test_strategies_as_written(text: str) -> None:
    assert survives(lambda: parse(text))


LABELS = {
    "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    "images": [{"id": 11, "file_name": "b.jpg", "width": 20, "height": 10}],
    "annotations": [{"id": 1, "image_id": 11, "category_id": 7, "bbox": [1.5, 2, 3, 4.25], "iscrowd": 0}],
}


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A COCO data set of one image, whose labels are written anew for every case."""
    (tmp_path / "train" / "data").mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(tmp_path / "train" / "data" / "b.jpg")
    return tmp_path


def read_coco(root: Path) -> None:
    """Read and check as a run does before it starts."""
    split = formats.get("coco").read({"path": str(root)}, "detection", "train", ("dog", "cat"))
    for example in split.examples:
        kinds.get("detection").check(example, split.classes)


@often
@given(data=st.data())
def test_coco_labels(coco: Path, data: st.DataObject) -> None:
    text = json.dumps(mutated(data.draw, LABELS), default=str, skipkeys=True)
    (coco / "train" / "labels.json").write_text(text)
    assert survives(lambda: read_coco(coco))


@often
@given(content=st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_coco_labels_of_any_bytes(coco: Path, content: bytes) -> None:
    (coco / "train" / "labels.json").write_bytes(content)
    assert survives(lambda: read_coco(coco))


@pytest.mark.filterwarnings("ignore::UserWarning")  # PIL's, about broken files
@often
@given(data=st.data())
def test_masks(tmp_path: Path, data: st.DataObject) -> None:
    mode = data.draw(st.sampled_from(["P", "L", "1", "RGB", "RGBA", "LA", "I;16", "I", "F", "CMYK"]))
    side = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    form = data.draw(st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "BMP"]))
    buffer = io.BytesIO()
    try:
        pixels = data.draw(st.binary(min_size=side[0] * side[1], max_size=side[0] * side[1]))
        made = Image.fromarray(np.frombuffer(pixels, np.uint8).reshape(side))
        made.convert("L" if mode == "I;16" else mode).save(buffer, form)
    except (OSError, ValueError):
        return  # PIL writes no such file
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path / "train"
    folder.mkdir(exist_ok=True)
    kept = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    (folder / "a.png").write_bytes(bytes(content)[:kept])
    Image.new("RGB", side[::-1]).save(folder / "a.jpg")

    def read() -> None:
        split = formats.get("voc").read({"path": str(tmp_path)}, "segmentation", "train", VOC_CLASSES)
        for example in split.examples:
            kinds.get("segmentation").check(example, split.classes)
            decode_mask(example.target, 8)

    assert survives(read)
