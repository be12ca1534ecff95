"""Writes a trained model for other runtimes, and only where it says what PyTorch says."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cl_bench.deploy import runtimes
from cl_bench.deploy.inputs import calibration
from cl_bench.deploy.quantization import quantized
from cl_bench.deploy.runtimes import Forward, without_remarks
from cl_bench.deploy.trained import Trained
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.utils.files import whole_folder

TOLERANCE = 1e-3
"""Greatest difference from PyTorch, as a share of the output's own greatest value, of a float32 export."""
_BATCH = 2
MANIFEST = "model.json"


def _shapes() -> dict[str, dict[int, torch.export.Dim]]:
    return {"images": {0: torch.export.Dim("batch")}}


def _graph(trained: Trained) -> torch.export.ExportedProgram:
    program = torch.export.export(trained.deployed(), (example(trained),), dynamic_shapes=_shapes())
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # the exporter's folders, which are nobody's who is given the model
    return program


def _onnx(trained: Trained, folder: Path) -> Path:
    runtimes.needed("onnxscript")
    names = [task.name for task in trained.model.tasks]
    with without_remarks(), torch.no_grad():
        program = torch.onnx.export(
            _graph(trained),
            dynamo=True,
            dynamic_shapes=_shapes(),  # which names the axis
            input_names=["images"],
            output_names=names,
            verbose=False,
        )
    assert program is not None
    program.save(folder / "model.onnx")
    return folder / "model.onnx"


def _openvino(trained: Trained, folder: Path) -> Path:
    runtime = runtimes.needed("openvino")
    with tempfile.TemporaryDirectory() as temporary:
        model = runtime.convert_model(str(_onnx(trained, Path(temporary))))
        runtime.save_model(model, str(folder / "model.xml"), compress_to_fp16=False)
    return folder / "model.xml"


def _program(trained: Trained, folder: Path) -> Path:
    with without_remarks(), torch.no_grad():
        torch.export.save(_graph(trained), folder / "model.pt2")
    return folder / "model.pt2"


def _int8(trained: Trained, folder: Path) -> Path:
    with tempfile.TemporaryDirectory() as temporary:
        file = _onnx(trained, Path(temporary))
        return quantized(file, folder / "model.onnx", calibration(trained))


@dataclass(frozen=True)
class Format:
    """What writes a model into a folder and returns its main file, what runs that file, and whether it is float32."""

    write: Callable[[Trained, Path], Path]
    run: Callable[[Path, int], Forward]
    exact: bool = True


FORMATS = {
    "onnx": Format(_onnx, runtimes.onnxruntime),
    "onnx-int8": Format(_int8, runtimes.onnxruntime, exact=False),
    "openvino": Format(_openvino, runtimes.openvino),
    "torch": Format(_program, runtimes.exported_program),
}


def export(trained: Trained, format: str, output: Path) -> Path:
    """Write the model into the new folder `output`, whole or not at all, with a `model.json` that says how to read it.

    format: onnx, onnx-int8 (its ranges are those of training images), openvino or torch (an ExportedProgram). Raises
    UserError where a float32 model does not say what PyTorch says, a library is missing, or `output` is there already.
    """
    if format not in FORMATS:
        raise unknown_name_error("format", format, FORMATS)
    if os.path.lexists(output):
        raise UserError(f"{output} is there already: name another folder with --output")
    chosen = FORMATS[format]
    with whole_folder(output) as draft:
        file = chosen.write(trained, draft)
        difference = compare(trained, chosen.run(file, torch.get_num_threads()))
        most = TOLERANCE if chosen.exact else sys.float_info.max
        for task, share in difference.items():
            if not share <= most:  # true of nan, too
                raise UserError(f"the exported model differs from PyTorch by {share:.2g} of the output of task {task}")
        described = {**trained.described(), "format": format, "file": file.name, "difference": difference}
        (draft / MANIFEST).write_text(json.dumps(described, indent=1) + "\n")
    return output


def compare(trained: Trained, forward: Forward) -> dict[str, float]:
    """Return the greatest difference of each task's output from PyTorch's, as a share of its greatest value.

    Of a single image and of a batch larger than the one that was traced.
    """
    plain = runtimes.eager(trained.deployed(), torch.get_num_threads())
    differences = {task.name: 0.0 for task in trained.model.tasks}
    for batch in (1, _BATCH + 1):
        images = example(trained, batch).numpy()
        for task, one, other in zip(trained.model.tasks, plain(images), forward(images), strict=True):
            share = np.abs(one - other).max() / max(np.abs(one).max(), 1e-12)
            # Not max(), which would forget what is no number.
            differences[task.name] = float(np.maximum(differences[task.name], share))
    return differences


def example(trained: Trained, batch: int = _BATCH) -> torch.Tensor:
    """Return images to trace and compare with: noise, the same every time."""
    side = trained.image_size
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
