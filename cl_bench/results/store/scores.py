"""What stages scored on images besides val: one small file a stage, task and data, beside the stages; no torch.

A stage is what it was when it was trained. Its scores may come later, on a test part that is new or a metric that is
another: they go by the stage's key and an identity of their own (`catalog.score_id`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cl_bench.utils.files import write_whole
from cl_bench.utils.paths import store_root

Arrays = dict[str, npt.NDArray[Any]]
SCHEMA = 1
FOLDER = ".scores"


@dataclass(frozen=True, eq=False)
class Score:
    """What one stage scored on one task's images.

    task, classes: their names; values: metric -> 0..1; images: how many; excess: by how much the headline metric of so
    few images is expected to exceed that of many (0 where it is not expected to); resampled: the headline metric
    (resamples,); per_class: (classes,), nan of those it cannot be told of.
    """

    task: str
    classes: Sequence[str]
    values: Mapping[str, float]
    images: int
    excess: float
    resampled: npt.NDArray[np.float32]
    per_class: npt.NDArray[np.float64]


class Scores:
    """The scores of the stages that lie in `store`."""

    def __init__(self, store: Path) -> None:
        self.root = store / FOLDER

    def path(self, key: str, identity: str) -> Path:
        """Return where a score lies, or would lie."""
        return self.root / key / f"{identity}.safetensors"

    def get(self, key: str, identity: str) -> Score | None:
        """Return a score; None where there is none, or one that is not what was written."""
        try:
            with safe_open(self.path(key, identity), "np") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
                content = json.loads(file.metadata()["score"])
            seal = content.pop("sha256")
            if content["schema"] != SCHEMA or seal != _seal(content, arrays):
                return None
            own = {name: content[name] for name in ("task", "classes", "values", "images", "excess")}
            return Score(**own, **arrays)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return None

    def add(self, key: str, identity: str, score: Score, predictions: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write a score, whole or not at all, and beside it the predictions that another metric could be told from."""
        arrays: Arrays = {"resampled": score.resampled, "per_class": score.per_class}
        content: dict[str, Any] = {"schema": SCHEMA, "task": score.task, "classes": list(score.classes)}
        content |= {"values": dict(score.values), "images": score.images, "excess": score.excess}
        content["sha256"] = _seal(content, arrays)
        place = self.path(key, identity)
        # The score last: where it is, all is.
        whole: Arrays = {name: np.ascontiguousarray(array) for name, array in predictions.items()}
        write_whole(place.with_name(f"{identity}-predictions.safetensors"), save(whole))
        write_whole(place, save(arrays, {"score": json.dumps(content)}))


def find_score(results: Path, key: str, identity: str) -> Score | None:
    """Return a score of the experiment whose results lie in `results`: in the store, or in one beside the results."""
    stores = (store_root(), results.parent / "stages")
    return next((found for store in stores if (found := Scores(store).get(key, identity)) is not None), None)


def _seal(content: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
