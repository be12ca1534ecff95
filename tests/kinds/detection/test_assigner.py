"""Which cell predicts which box: by centre and size, and by what the cells predict already."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_iou

from cl_bench.kinds.detection.assigner import TOP, aligned, by_centre
from cl_bench.kinds.detection.grid import cells

CPU = torch.device("cpu")
GRID = cells(256, (32,), 8.0, CPU)
PYRAMID = cells(256, (8, 16, 32), 8.0, CPU)


def random_boxes(count: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=draw) * 205
    side = 5 + 128 * torch.rand(count, 2, generator=draw)
    return torch.cat((corner, torch.minimum(corner + side, torch.tensor(256.0))), 1)


def test_every_uncontested_box_gets_the_cell_of_its_centre() -> None:
    tried = 0
    for seed in range(200):
        found = random_boxes(3, seed)
        homes = ((found[:, :2] + found[:, 2:]) / 64).long()
        if len({tuple(home) for home in homes.tolist()}) < 3:
            continue
        tried += 1
        index = by_centre(found, GRID).reshape(8, 8)
        for number, (x, y) in enumerate(homes.tolist()):
            assert index[y, x] == number
    assert tried > 100


def test_a_box_smaller_than_a_cell_still_gets_one_and_none_gets_none() -> None:
    index = by_centre(torch.tensor([[1.0, 250.0, 3.0, 254.0]]), GRID)
    assert (index >= 0).nonzero().flatten().tolist() == [7 * 8]
    assert (by_centre(torch.zeros(0, 4), GRID) == -1).all()


def test_cells_near_the_centre_and_inside_the_box_are_assigned_too() -> None:
    index = by_centre(torch.tensor([[64.0, 64.0, 160.0, 160.0]]), GRID)  # three by three cells
    wanted = torch.full((8, 8), -1)
    wanted[2:5, 2:5] = 0
    assert torch.equal(index.reshape(8, 8), wanted)


def test_an_owner_comes_before_a_smaller_neighbour_and_of_two_owners_the_smaller() -> None:
    large, small = [0.0, 0.0, 94.0, 94.0], [40.0, 36.0, 64.0, 60.0]  # centres in neighbouring or equal cells
    index = by_centre(torch.tensor([large, [60.0, 30.0, 100.0, 70.0]]), GRID).reshape(8, 8)
    assert index[1, 1] == 0
    assert index[1, 2] == 1
    assert by_centre(torch.tensor([large, small]), GRID).reshape(8, 8)[1, 1] == 1


def test_of_two_small_owners_the_smaller_wins_too() -> None:
    found = torch.tensor([[10.0, 10.0, 15.0, 15.0], [10.0, 10.0, 14.0, 14.0]])
    assert by_centre(found, GRID)[0] == 1
    assert by_centre(found.flip(0), GRID)[0] == 0


@pytest.mark.parametrize(("side", "stride"), [(5, 8), (60, 8), (70, 16), (127, 16), (130, 32), (250, 32)])
def test_a_box_lies_on_the_level_for_its_size(side: float, stride: int) -> None:
    index = by_centre(torch.tensor([[3.0, 3.0, 3.0 + side, 4.0 + side / 2]]), PYRAMID)
    assert set(PYRAMID.stride[index >= 0].flatten().tolist()) == {stride}


def perfect(boxes: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Predicted boxes that are right in the cells of `index` and far away elsewhere."""
    return torch.where((index >= 0)[:, None], boxes[index.clamp(min=0)], torch.tensor([900.0, 900.0, 910.0, 910.0]))


def test_aligned_cells_are_those_that_predict_best() -> None:
    boxes = torch.tensor([[64.0, 64.0, 160.0, 160.0]])
    offset = torch.linspace(0, 40, len(PYRAMID))[:, None]
    found, scores = boxes + offset, torch.full((1, len(PYRAMID)), 0.5)
    index, quality = aligned(boxes, found, scores, PYRAMID)
    assert (index >= 0).sum() == TOP
    inside = ((PYRAMID.centre > 64) & (PYRAMID.centre < 160)).all(1)
    near = ((PYRAMID.centre - 112).abs() <= 2.5 * PYRAMID.stride).all(1)
    candidates = (inside & near).nonzero().flatten()
    assert (index >= 0).nonzero().flatten().tolist() == candidates[:TOP].tolist(), "the least offset, so the best IoU"
    best = box_iou(boxes, found)[0, candidates[0]]
    assert quality.max() == pytest.approx(float(best))
    assert (quality[index < 0] == 0).all()
    assert quality[index >= 0].min() > 0


def test_the_score_of_the_class_has_a_say() -> None:
    boxes = torch.tensor([[64.0, 64.0, 160.0, 160.0]])
    found, scores = boxes.expand(len(PYRAMID), 4), torch.full((1, len(PYRAMID)), 0.1)
    # Two cells of the middle level, inside and near the centre.
    liked = [32 * 32 + 6 * 16 + 6, 32 * 32 + 7 * 16 + 7]
    scores[0, liked] = 0.9
    index, quality = aligned(boxes, found, scores, PYRAMID)
    assert (index[liked] == 0).all()
    assert quality[liked].tolist() == pytest.approx([1.0, 1.0])
    assert ((index >= 0) & (quality < 0.2)).sum() == TOP - 2


def test_a_cell_wanted_twice_goes_to_the_box_it_overlaps_more() -> None:
    boxes = torch.tensor([[64.0, 64.0, 160.0, 160.0], [70.0, 70.0, 170.0, 170.0]])
    found = boxes[1].expand(len(PYRAMID), 4)
    index, _ = aligned(boxes, found, torch.full((2, len(PYRAMID)), 0.5), PYRAMID)
    assert set(index.tolist()) == {-1, 0, 1}
    want = ((PYRAMID.centre > boxes[1, :2]) & (PYRAMID.centre < boxes[1, 2:])).all(1)
    assert not (index[want] == 0).any() or (index == 1).sum() == TOP


def test_the_quality_of_a_box_that_is_hardly_met_yet_is_its_best_iou() -> None:
    boxes = torch.tensor([[64.0, 64.0, 70.0, 70.0]])
    found = torch.tensor([60.0, 60.0, 95.0, 95.0]).expand(len(PYRAMID), 4)
    index, quality = aligned(boxes, found, torch.full((1, len(PYRAMID)), 1e-3), PYRAMID)
    assert (index >= 0).any()
    assert quality.max().item() == pytest.approx(36 / 35**2)


def test_a_tiny_box_still_gets_a_cell_and_no_box_none() -> None:
    boxes = torch.tensor([[1.0, 250.0, 3.0, 254.0]])
    index, quality = aligned(boxes, perfect(boxes, by_centre(boxes, PYRAMID)), torch.ones(1, len(PYRAMID)), PYRAMID)
    assert (index >= 0).any()
    assert quality.max() == pytest.approx(1.0)
    index, quality = aligned(torch.zeros(0, 4), torch.zeros(len(PYRAMID), 4), torch.zeros(0, len(PYRAMID)), PYRAMID)
    assert (index == -1).all()
    assert (quality == 0).all()
