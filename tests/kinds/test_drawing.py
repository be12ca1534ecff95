"""Names on pictures: where they stand, and that they can be read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cl_bench.kinds.drawing import write_label


def box(size: tuple[int, int], at: tuple[float, float], text: str, anchor: str = "lt") -> tuple[int, int, int, int]:
    """Return what of a blank image the name covers: left, top, right, bottom."""
    image = Image.new("RGB", size, (90, 90, 90))
    write_label(image, at, text, anchor)
    rows, columns = np.nonzero((np.array(image) != 90).any(-1))
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def test_a_name_stands_where_it_was_asked_for() -> None:
    left, top, *_ = box((200, 200), (50, 60), "cat")
    assert (left, top) == pytest.approx((50, 60), abs=2)
    left, _, _, bottom = box((200, 200), (50, 60), "cat", "lb")
    assert (left, bottom) == pytest.approx((50, 60), abs=2)
    left, top, right, bottom = box((200, 200), (100, 100), "cat", "mm")
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((100, 100), abs=4)


@pytest.mark.parametrize("at", [(-90, -90), (0, 0), (630, 470), (9999, 9999)])
def test_a_name_at_the_edge_is_moved_just_inside(at: tuple[float, float]) -> None:
    left, top, right, bottom = box((640, 480), at, "cat")
    inner = box((640, 480), (200, 200), "cat")
    assert (right - left, bottom - top) == pytest.approx((inner[2] - inner[0], inner[3] - inner[1]), abs=1)
    if at[0] > 300:
        assert (right, bottom) == pytest.approx((639, 479), abs=2)
    else:
        assert (left, top) == pytest.approx((0, 0), abs=2)


def test_letters_grow_with_the_image_and_never_beyond_it() -> None:
    heights = [bottom - top for _, top, _, bottom in (box((side, side), (0, 0), "cat") for side in (192, 384, 768))]
    assert heights[0] >= 10
    assert heights[1:] == pytest.approx([2 * heights[0], 4 * heights[0]], rel=0.2)
    left, _, right, _ = box((300, 300), (0, 0), "a name that is much longer than the picture is wide")
    assert 200 < right - left < 300, "smaller letters, and no more so than they must be"


def test_letters_of_other_languages_are_there() -> None:
    drawn = []
    for text in ("Łódź", "кошка", "γάτα"):
        image = Image.new("RGB", (200, 40))
        write_label(image, (0, 0), text)
        drawn.append(np.array(image))
    unknown = Image.new("RGB", (200, 40))
    write_label(unknown, (0, 0), "\U000f0000" * 4)
    assert all((one != np.array(unknown)).any() for one in drawn)
    assert (drawn[0] != drawn[1]).any()


def test_nothing_is_drawn_for_no_name_and_the_smallest_image_is_taken() -> None:
    image = Image.new("RGB", (50, 50), "white")
    write_label(image, (10, 10), " \n")
    assert (np.array(image) == 255).all()
    write_label(Image.new("RGB", (1, 1)), (0, 0), "cat")
