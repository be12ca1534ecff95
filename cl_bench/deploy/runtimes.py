"""What runs a model: PyTorch itself, or an exported file in ONNX Runtime or OpenVINO; each a function of images."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cl_bench.errors import UserError

if TYPE_CHECKING:
    from torch import nn

Images = npt.NDArray[np.float32]
Forward = Callable[[Images], list[npt.NDArray[np.float32]]]
"""Images (B, 3, S, S) in 0..1 in, every task's finished output out."""


def needed(module: str) -> Any:
    """Return an optional library's module; raise UserError, saying how to install it, where it is not there."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"{module.partition('.')[0]} is not installed: pip install cl-bench[deploy]") from error


@contextmanager
def without_remarks() -> Iterator[None]:
    """Keep what exporters log and warn of, which is about their insides, from the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def eager(model: nn.Module, threads: int) -> Forward:
    """Run `model` (images -> tuple of outputs) in PyTorch."""
    import torch

    torch.set_num_threads(threads)

    def forward(images: Images) -> list[npt.NDArray[np.float32]]:
        with torch.inference_mode():
            return [output.float().numpy() for output in model(torch.from_numpy(images))]

    return forward


def onnxruntime(file: Path, threads: int) -> Forward:
    """Run an ONNX file in ONNX Runtime on the CPU."""
    runtime = needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def forward(images: Images) -> list[npt.NDArray[np.float32]]:
        return list(session.run(None, {"images": images}))

    return forward


def openvino(file: Path, threads: int) -> Forward:
    """Run an ONNX or OpenVINO file in OpenVINO on the CPU, at float32."""
    runtime = needed("openvino")
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    compiled = runtime.Core().compile_model(str(file), "CPU", settings)

    def forward(images: Images) -> list[npt.NDArray[np.float32]]:
        found = compiled(images)
        return [np.array(found[index]) for index in range(len(compiled.outputs))]

    return forward


def exported_program(file: Path, threads: int) -> Forward:
    """Run a PyTorch ExportedProgram."""
    import torch

    return eager(torch.export.load(file).module(), threads)
