"""Cells of one and several levels; boxes to raw outputs and back."""

from __future__ import annotations

import pytest
import torch

from cl_bench.kinds.detection.grid import REACH, SPAN, cells, decode_boxes, encode_boxes, side_of

CPU = torch.device("cpu")


@pytest.mark.parametrize("levels", [(32,), (8, 16, 32), (8, 16, 32, 64)])
def test_encoded_boxes_decode_to_themselves(levels: tuple[int, ...]) -> None:
    found = cells(256, levels, 8.0, CPU)
    draw = torch.Generator().manual_seed(0)
    middle = found.centre + (2 * torch.rand(len(found), 2, generator=draw) - 1) * 0.9 * REACH * found.stride
    half = (1 + 0.9 * found.span * torch.rand(len(found), 2, generator=draw)) / 2
    wanted = torch.cat((middle - half, middle + half), -1)
    torch.testing.assert_close(decode_boxes(encode_boxes(wanted, found)[None], found)[0], wanted, atol=2e-2, rtol=0)


def test_a_raw_output_of_zeros_is_a_quarter_of_the_span_around_its_cell() -> None:
    found = cells(512, (32,), 8.0, CPU)
    half = SPAN * 32 / 8
    box = decode_boxes(torch.zeros(1, 6, 256), found)[0, 1]  # x runs along the row
    assert box.tolist() == [48 - half, 16 - half, 48 + half, 16 + half]


@pytest.mark.parametrize(
    ("size", "levels"), [(128, (8,)), (512, (8,)), (256, (8, 16, 32)), (96, (64,)), (512, (8, 64))]
)
def test_the_coarsest_level_can_predict_the_whole_image(size: int, levels: tuple[int, ...]) -> None:
    found = cells(size, levels, 8.0, CPU)
    assert len(found) == sum((-(-size // level)) ** 2 for level in levels)
    assert found.span[-1] == size
    assert found.span.max() == size
    assert (found.centre > 0).all()
    assert found.stride.unique().tolist() == list(levels)


@pytest.mark.parametrize("levels", [(8, 16, 32), (8, 32), (8, 64), (8, 16, 64), (16,)])
@pytest.mark.parametrize("largest", [1.0, 8.0])
def test_every_size_of_box_is_for_one_level(levels: tuple[int, ...], largest: float) -> None:
    found = cells(256, levels, largest, CPU)
    for side in (0.5, 8.0, 9.0, 32.0, 64.0, 64.5, 100.0, 128.0, 129.0, 256.0):
        (takes,) = found.stride[(side > found.least) & (side <= found.most)].unique().tolist()
        assert takes == next((level for level in levels if side <= largest * level), levels[-1])


@pytest.mark.parametrize("levels", [(8,), (32,), (16, 32), (8, 16, 32, 64)])
def test_the_number_of_cells_tells_the_size_of_the_image(levels: tuple[int, ...]) -> None:
    for size in (32, 64, 96, 256, 512, 4096):
        assert side_of(len(cells(size, levels, 8.0, CPU)), levels) == size
