"""int8 is near float32 on processors without VNNI, too, and squeeze-and-excite's means have an int8 form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cl_bench.deploy import runtimes
from cl_bench.deploy.quantization import pool_globally, quantized

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
SHAPE = (2, 3, 8, 8)


def graph(file: Path, *nodes: Any, **constants: Any) -> Path:
    """Write a model of `nodes`, from images to `out`."""
    known = [onnx.numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    given = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, SHAPE)
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)
    made = onnx.helper.make_graph(list(nodes), "graph", [given], [out], known)
    opset = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(made, opset_imports=opset, ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), str(file))
    return file


@pytest.mark.parametrize(
    ("axes", "keepdims", "pooled"),
    [([2, 3], 1, True), ([-1, -2], 1, True), ([2, 3], 0, False), ([1], 1, False), ([1, 2, 3], 1, False)],
)
def test_means_over_all_pixels_become_pools_and_say_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], axes: list[int], keepdims: int, pooled: bool
) -> None:
    nodes = [
        onnx.helper.make_node("Abs", ["images"], ["x"]),
        onnx.helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=keepdims),
        onnx.helper.make_node("Neg", ["y"], ["out"]),
    ]
    file = graph(tmp_path / "model.onnx", *nodes, axes=np.array(axes, np.int64))
    images = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    (before,) = runtimes.onnxruntime(file, 1)(images)
    pool_globally(file)
    (after,) = runtimes.onnxruntime(file, 1)(images)
    np.testing.assert_allclose(after, before, rtol=1e-5)
    assert capfd.readouterr() == ("", "")
    assert [node.op_type for node in onnx.load(str(file)).graph.node][1] == (
        "GlobalAveragePool" if pooled else "ReduceMean"
    )


def test_large_products_do_not_saturate(tmp_path: Path) -> None:
    """Two neighbouring products of 255 and 127 are more than 16 bits hold, which is where AVX2 adds them."""
    weights = np.ones((4, 3, 3, 3), np.float32)
    nodes = [onnx.helper.make_node("Conv", ["images", "weights"], ["out"])]
    file = graph(tmp_path / "model.onnx", *nodes, weights=weights)
    images = np.ones(SHAPE, np.float32)
    spread = [np.linspace(0, 1, images.size, dtype=np.float32).reshape(SHAPE), images]
    smaller = quantized(file, tmp_path / "int8.onnx", spread)
    np.testing.assert_allclose(runtimes.onnxruntime(smaller, 1)(images)[0], 27.0, rtol=0.01)
    kept = [onnx.numpy_helper.to_array(one) for one in onnx.load(str(smaller)).graph.initializer]
    assert [np.abs(one).max() for one in kept if one.dtype == np.int8 and one.ndim == 4] == [64]
