"""Eight bits for ONNX Runtime: weights and activations, ranges from images; chosen for x86, with VNNI or without."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cl_bench.deploy.runtimes import Images, needed, without_remarks


def quantized(file: Path, target: Path, images: Iterable[Images]) -> Path:
    """Write the ONNX `file` with weights and activations of 8 bits; images: batches (1, 3, S, S) that set the ranges.

    Activations are unsigned, as ONNX Runtime would leave convolutions before SiLU in float32 were they signed. Weights
    use seven bits: where two products are added in 16, as x86 does without VNNI, eight would saturate.
    """
    tools = needed("onnxruntime.quantization")
    shapes = needed("onnxruntime.quantization.shape_inference")

    class Reader(tools.CalibrationDataReader):  # type: ignore[name-defined] # an optional library's
        def __init__(self) -> None:
            self.batches: Iterator[Images] = iter(images)

        def get_next(self) -> dict[str, Images] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    unsigned = tools.QuantType.QUInt8
    with tempfile.TemporaryDirectory() as temporary, without_remarks():
        prepared = Path(temporary) / "model.onnx"
        shapes.quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
        pool_globally(prepared)
        tools.quantize_static(
            str(prepared), str(target), Reader(), per_channel=True, reduce_range=True, activation_type=unsigned
        )
    return target


def pool_globally(file: Path) -> None:
    """Let means over all pixels, (B, C, H, W) to (B, C, 1, 1), be global pools in the ONNX `file`.

    They are what squeeze-and-excite begins with; pools have a form of 8 bits, and means are computed in float32.
    """
    onnx = needed("onnx")
    model = onnx.load(str(file))
    integers = [one for one in model.graph.initializer if one.data_type == onnx.TensorProto.INT64]
    known = {one.name: onnx.numpy_helper.to_array(one).tolist() for one in integers}
    rank = {one.name: len(one.type.tensor_type.shape.dim) for one in model.graph.value_info}
    for node in model.graph.node:
        if node.op_type == "ReduceMean" and rank.get(node.input[0]) == 4 and _over_pixels(node, known):
            node.op_type = "GlobalAveragePool"
            del node.input[1:], node.attribute[:]
    used = {name for node in model.graph.node for name in node.input}
    for one in integers:
        if one.name not in used:  # of which ONNX Runtime would warn
            model.graph.initializer.remove(one)
    onnx.save(model, str(file))


def _over_pixels(node: Any, known: dict[str, Any]) -> bool:
    """Return whether a mean is over axes 2 and 3, which it keeps."""
    axes = known.get(node.input[1]) if len(node.input) > 1 else None
    kept = {attribute.name: attribute.i for attribute in node.attribute}.get("keepdims", 1)
    return bool(kept) and isinstance(axes, list) and sorted(axis % 4 for axis in axes) == [2, 3]
