import numpy as np
import pytest

from cl_bench.data.base import Boxes
from cl_bench.errors import UserError
from cl_bench.metrics.average_precision import AveragePrecision
from cl_bench.metrics.bootstrap import image_weights

SIZE = (100, 80)
A, B, C = (10, 10, 30, 50), (40, 5, 90, 25), (50, 40, 80, 75)
"""Three boxes that do not overlap; none is square, so that a mix-up of formats shows."""
NOWHERE = (0, 60, 8, 79)


def truth(*objects):
    """Objects are (box, label) or (box, label, crowd)."""
    boxes = np.array([thing[0] for thing in objects], np.float32).reshape(-1, 4)
    labels = np.array([thing[1] for thing in objects], np.int64)
    return Boxes(boxes, labels, np.array([len(thing) > 2 and thing[2] for thing in objects], np.bool_))


def found(*detections):
    """Detections are (box, score, label)."""
    boxes = np.array([detection[0] for detection in detections], np.float32).reshape(-1, 4)
    scores = np.array([detection[1] for detection in detections], np.float32)
    return boxes, scores, np.array([detection[2] for detection in detections], np.int64)


def score(truths, detections, classes=("cat", "dog"), size=SIZE):
    metric = AveragePrecision(classes, truths, [size] * len(truths))
    for index, of_image in enumerate(detections):
        metric.update(index, *found(*of_image))
    return metric.compute()


TRUTHS = [truth((A, 0), (B, 1)), truth((C, 0)), truth()]
PERFECT = [[(A, 0.9, 0), (B, 0.8, 1)], [(C, 0.7, 0)], []]


def test_perfect_is_1_and_nothing_0():
    assert score(TRUTHS, PERFECT) == pytest.approx({"AP50": 1.0, "AP": 1.0}, abs=1e-12)
    assert score(TRUTHS, [[], [], []]) == {"AP50": 0.0, "AP": 0.0}


def test_a_single_class_with_label_0_is_matched():
    assert score([truth((A, 0))], [[(A, 0.5, 0)]], ("cat",))["AP"] == pytest.approx(1)


def test_one_of_two_truths_found_by_the_101_point_rule():
    # precision 1 at the recalls 0.00, 0.01, ..., 0.50, which are 51 of 101
    assert score([truth((A, 0), (B, 0))], [[(A, 0.9, 0)]])["AP50"] == pytest.approx(51 / 101)


def test_a_false_positive_between_two_hits_by_the_101_point_rule():
    # precision 1 up to recall 0.5 (51 points), 2/3 beyond (50 points)
    detections = [[(A, 0.9, 0), (NOWHERE, 0.8, 0), (B, 0.7, 0)]]
    assert score([truth((A, 0), (B, 0))], detections)["AP50"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_false_positive_hurts_above_the_hits_and_not_below():
    alone = truth((A, 0))
    assert score([alone], [[(A, 0.9, 0), (NOWHERE, 0.1, 0)]])["AP"] == pytest.approx(1)
    assert score([alone], [[(A, 0.1, 0), (NOWHERE, 0.9, 0)]])["AP"] == pytest.approx(1 / 2)


def test_a_duplicate_is_a_false_positive():
    detections = [[(A, 0.9, 0), (A, 0.8, 0), (B, 0.7, 0)]]
    assert score([truth((A, 0), (B, 0))], detections)["AP50"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_ap_averages_ten_thresholds():
    # 31 of 50 rows: IoU 0.62 passes 0.50, 0.55 and 0.60
    assert score([truth(((0, 0, 50, 50), 0))], [[((0, 0, 50, 31), 0.9, 0)]]) == pytest.approx({"AP50": 1.0, "AP": 0.3})


def test_an_iou_below_one_half_is_no_hit():
    assert score([truth(((0, 0, 50, 50), 0))], [[((0, 0, 50, 24), 0.9, 0)]]) == {"AP50": 0.0, "AP": 0.0}


def test_a_box_inside_or_around_the_truth_is_no_perfect_hit():
    # an IoU that could pass 1, or that divided by one area only, would score these
    inner, outer = (20, 20, 40, 40), (10, 10, 70, 70)
    assert score([truth((inner, 0))], [[(outer, 0.9, 0)]])["AP50"] == 0
    assert score([truth((outer, 0))], [[(inner, 0.9, 0)]])["AP50"] == 0


def test_images_without_predictions_count():
    truths = [truth((A, 0)), truth((A, 0))]
    assert score(truths, [[(A, 0.9, 0)], []])["AP50"] == pytest.approx(51 / 101)


def test_false_positives_on_images_without_truth_count():
    assert score([truth((A, 0)), truth()], [[(A, 0.1, 0)], [(B, 0.9, 0)]])["AP50"] == pytest.approx(1 / 2)


def test_a_hit_in_another_image_is_none():
    assert score([truth((A, 0)), truth((B, 0))], [[(B, 0.9, 0)], [(A, 0.9, 0)]])["AP50"] == 0


def test_the_wrong_class_is_no_hit():
    assert score([truth((A, 1))], [[(A, 0.9, 0)]])["AP50"] == 0


def test_classes_without_truth_do_not_count():
    assert score(TRUTHS, PERFECT, ("cat", "dog", "bird"))["AP"] == pytest.approx(1)
    with_bird = [[*PERFECT[0], (A, 0.99, 2)], *PERFECT[1:]]
    assert score(TRUTHS, with_bird, ("cat", "dog", "bird"))["AP"] == pytest.approx(1)


def test_a_class_with_truth_and_no_detection_counts_as_0():
    assert score(TRUTHS, [[(A, 0.9, 0)], [(C, 0.7, 0)], []])["AP"] == pytest.approx(1 / 2)


def test_crowds_neither_help_nor_hurt():
    crowded = [truth((A, 0), (B, 0, True))]
    in_crowd = [((45, 6, 55, 20), 0.95, 0), ((60, 6, 80, 20), 0.94, 0)]
    assert score(crowded, [[(A, 0.9, 0), *in_crowd]])["AP"] == pytest.approx(1)
    assert score(crowded, [[(A, 0.9, 0)]])["AP"] == pytest.approx(1)
    assert score(crowded, [in_crowd])["AP"] == 0


def as_xywh(box):
    left, top, right, bottom = box
    return left, top, right - left, bottom - top


def test_boxes_as_left_top_width_height_are_noticed():
    with pytest.raises(UserError, match="image 0: a true box has its right or bottom edge before"):
        score([truth((as_xywh(C), 0))], [[]])
    with pytest.raises(UserError, match="image 0: a detection has its right or bottom edge before"):
        score([truth((C, 0))], [[(as_xywh(C), 0.9, 0)]])
    assert score([truth((A, 0))], [[(as_xywh(A), 0.9, 0)]])["AP50"] == 0


def test_boxes_with_x_and_y_exchanged_or_in_a_resized_frame_are_no_hits():
    assert score([truth((B, 0))], [[((5, 40, 25, 90), 0.9, 0)]])["AP50"] == 0
    assert score([truth((A, 0))], [[(tuple(2 * edge for edge in A), 0.9, 0)]])["AP50"] == 0


def test_a_false_positive_of_any_size_counts():
    vast = (-1e6, -1e6, 1e6, 1e6)
    assert score([truth((A, 0))], [[(A, 0.1, 0), (vast, 0.9, 0)]])["AP50"] == pytest.approx(1 / 2)


def test_100_detections_an_image_and_class_count():
    misses = [(NOWHERE, 0.9, 0)] * 99
    assert score([truth((A, 0))], [[*misses, (A, 0.5, 0)]])["AP50"] == pytest.approx(1 / 100)
    assert score([truth((A, 0))], [[*misses, (NOWHERE, 0.9, 0), (A, 0.5, 0)]])["AP50"] == 0


def random_case(seed, images=8, classes=2):
    """Return truths, crowds among them, and detections; every fourth image has no true box."""
    random = np.random.default_rng(seed)

    def boxes(n):
        corner, extent = random.uniform(0, 50, (n, 2)), random.uniform(1, 40, (n, 2))
        return np.hstack([corner, corner + extent]).astype(np.float32)

    numbers = random.integers(1, 6, images) * (np.arange(images) % 4 != 3)
    truths = [Boxes(boxes(n), random.integers(0, classes, n), random.random(n) < 0.2) for n in numbers]
    truths[0].crowd[0] = False
    detections = []
    for of_image in truths:
        near = of_image.xyxy + random.uniform(0, 0.5, of_image.xyxy.shape).astype(np.float32)
        all_boxes = np.concatenate([near, boxes(4)])
        right = np.append(random.random(len(near)) < 0.6, np.zeros(4, bool))
        labels = np.where(right, np.append(of_image.labels, [0] * 4), random.integers(0, classes, len(all_boxes)))
        # few distinct scores: ties must not depend on the order of updates
        scores = random.integers(1, 4, len(all_boxes)) / 4
        detections.append((all_boxes, scores.astype(np.float32), labels))
    return truths, detections


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_updates_changes_no_bit_and_scores_stay_in_0_to_1(seed):
    truths, detections = random_case(seed)
    results = []
    for order in (range(len(truths)), reversed(range(len(truths)))):
        metric = AveragePrecision(("cat", "dog"), truths, [SIZE] * len(truths))
        for index in order:
            metric.update(index, *detections[index])
        results.append(metric.compute())
        assert metric.compute() == results[-1]
    assert results[0] == results[1]
    assert 0 < results[0]["AP"] <= results[0]["AP50"] < 1


def test_equals_torchmetrics_on_random_boxes():
    detection = pytest.importorskip("torchmetrics.detection")
    torch = pytest.importorskip("torch")
    truths, detections = random_case(7)
    metric = AveragePrecision(("cat", "dog"), truths, [SIZE] * len(truths))
    other = detection.MeanAveragePrecision(backend="pycocotools")
    for index, (of_image, (boxes, scores, labels)) in enumerate(zip(truths, detections, strict=True)):
        metric.update(index, boxes, scores, labels)
        other.update(
            [{"boxes": torch.tensor(boxes), "scores": torch.tensor(scores), "labels": torch.tensor(labels)}],
            [
                {
                    "boxes": torch.tensor(of_image.xyxy),
                    "labels": torch.tensor(of_image.labels),
                    "iscrowd": torch.tensor(of_image.crowd.astype(np.int64)),
                }
            ],
        )
    expected = other.compute()
    ours = metric.compute()
    assert ours["AP"] == pytest.approx(float(expected["map"]), abs=1e-6)
    assert ours["AP50"] == pytest.approx(float(expected["map_50"]), abs=1e-6)


def test_per_image_is_flat_and_ordered_by_image():
    metric = AveragePrecision(("cat", "dog"), TRUTHS, [SIZE] * 3)
    for index in (2, 0, 1):
        metric.update(index, *found(*PERFECT[index]))
    flat = metric.per_image()
    assert {name: str(array.dtype) for name, array in flat.items()} == {
        "image": "int32",
        "label": "int32",
        "score": "float32",
        "box": "float32",
    }
    assert flat["image"].tolist() == [0, 0, 1]
    assert flat["label"].tolist() == [0, 1, 0]
    assert flat["score"].tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert flat["box"].tolist() == [list(A), list(B), list(C)]


def test_per_image_of_no_detection_is_empty():
    metric = AveragePrecision(("cat",), [truth((A, 0))], [SIZE])
    metric.update(0, *found())
    assert {name: array.shape for name, array in metric.per_image().items()} == {
        "image": (0,),
        "label": (0,),
        "score": (0,),
        "box": (0, 4),
    }


def test_nothing_is_printed(capsys):
    score(TRUTHS, PERFECT)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("detections", "message"),
    [
        ((np.zeros((2, 4)), np.zeros(2), np.zeros(1, int)), "needs four numbers and a label"),
        ((np.zeros((1, 5)), np.zeros(1), np.zeros(1, int)), "needs four numbers and a label"),
        ((np.zeros((1, 4)), np.zeros(2), np.zeros(1, int)), "one finite score each"),
        ((np.zeros((1, 4)), np.array([np.nan]), np.zeros(1, int)), "one finite score each"),
        ((np.full((1, 4), np.nan), np.zeros(1), np.zeros(1, int)), "is not finite"),
        ((np.zeros((1, 4)), np.zeros(1), np.array([2])), "none of the 2 classes"),
        ((np.zeros((1, 4)), np.zeros(1), np.array([-1])), "none of the 2 classes"),
    ],
)
def test_wrong_detections_are_an_error_that_names_the_image(detections, message):
    metric = AveragePrecision(("cat", "dog"), TRUTHS, [SIZE] * 3)
    with pytest.raises(UserError, match=f"image 1: .*{message}"):
        metric.update(1, *detections)


def test_an_image_counts_exactly_once():
    metric = AveragePrecision(("cat", "dog"), TRUTHS, [SIZE] * 3)
    metric.update(0, *found())
    with pytest.raises(UserError, match="image 0 is scored twice"):
        metric.update(0, *found())
    for stranger in (3, -1):
        with pytest.raises(UserError, match="not one of the 3 images"):
            metric.update(stranger, *found())
    for result in (metric.compute, metric.per_image):
        with pytest.raises(UserError, match="lacks 2 of 3 images; the first is image 1"):
            result()


@pytest.mark.parametrize(
    ("truths", "sizes", "message"),
    [
        ([truth((A, 0))], [SIZE, SIZE], "of 1 images, the sizes of 2"),
        ([truth((A, 2))], [SIZE], "image 0: a true box has a label"),
        ([truth(((200, 10, 210, 30), 0))], [SIZE], "outside the image of 100 x 80"),
        ([truth(), truth((A, 0, True))], [SIZE, SIZE], "no crowd"),
        ([], [], "no crowd"),
    ],
)
def test_wrong_truth_is_an_error(truths, sizes, message):
    with pytest.raises(UserError, match=message):
        AveragePrecision(("cat", "dog"), truths, sizes)


def crowded_scene(images=9, seed=3):
    """Return truths, crowds and empty images among them, and detections, some of them hits, without equal scores."""
    random = np.random.default_rng(seed)
    truths, detections = [], []
    for index in range(images):
        corners = random.integers(0, 40, (index % 4, 2))
        boxes = [((*map(int, c), *map(int, c + random.integers(8, 30, 2))), int(random.integers(3))) for c in corners]
        truths.append(truth(*((*box, bool(random.random() < 0.2)) for box in boxes)))
        near = [(tuple(np.add(box, random.integers(-2, 3, 4))), float(random.random()), label) for box, label in boxes]
        wrong = [((5, 5, 20, 20), float(random.random()), int(random.integers(3))) for _ in range(2)]
        detections.append(near + wrong)
    return truths, detections


def test_an_image_that_weighs_three_counts_as_often_as_three_copies():
    truths, detections = crowded_scene()
    names, counts = ("cat", "dog", "bird"), [1, 3, 2, 1, 2, 3, 1, 1, 2]
    metric = AveragePrecision(names, truths, [SIZE] * 9)
    for index, of_image in enumerate(detections):
        metric.update(index, *found(*of_image))
    copies = [index for index, count in enumerate(counts) for _ in range(count)]
    repeated = score([truths[i] for i in copies], [detections[i] for i in copies], names)["AP50"]
    expected = [metric.compute()["AP50"], repeated]
    assert expected[0] != pytest.approx(expected[1], abs=1e-3)
    np.testing.assert_allclose(metric.resampled(np.array([np.ones(9), counts], np.float64)), expected, rtol=1e-12)


@pytest.mark.parametrize("classes", [1, 2, 3, 11])
def test_equal_weights_give_the_score_to_the_last_bit(classes):
    names = tuple(f"class {label}" for label in range(classes))
    for seed in range(25):
        truths, detections = random_case(seed, images=1 + seed, classes=classes)
        metric = AveragePrecision(names, truths, [SIZE] * len(truths))
        for index, of_image in enumerate(detections):
            metric.update(index, *of_image)
        for weight in (1.0, 0.37, 3e9):
            resampled = metric.resampled(np.full((1 + seed % 3, len(truths)), weight))
            assert set(resampled.tolist()) == {metric.compute()["AP50"]}


def test_a_lone_hit_gives_what_cocoeval_makes_of_it():
    metric = AveragePrecision(("cat",), [truth((A, 0))], [SIZE])
    metric.update(0, *found((A, 0.9, 0)))
    assert metric.compute()["AP50"] < 1  # as COCOeval adds a tiny number to the number of detections
    assert metric.resampled(np.ones((2, 1))).tolist() == [metric.compute()["AP50"]] * 2


@pytest.mark.parametrize("seed", range(3))
def test_a_class_that_is_found_completely_reaches_the_last_recall_in_every_resample(seed):
    random = np.random.default_rng(seed)
    truths = [truth(*[(A, 0), (B, 0), (C, 0)][: random.integers(1, 4)]) for _ in range(30)]
    metric = AveragePrecision(("cat",), truths, [SIZE] * 30)
    for index, boxes in enumerate(truths):
        hits = [(tuple(box), float(random.random()), 0) for box in boxes.xyxy]
        metric.update(index, *found(*hits, (NOWHERE, 0.0, 0)))
    np.testing.assert_allclose(metric.resampled(image_weights("det", 30)), 1, rtol=1e-12)


def test_the_expected_excess_is_paired_and_raises_as_the_score_does():
    truths, detections = random_case(1, images=40)
    metrics = [AveragePrecision(("cat", "dog"), truths, [SIZE] * 40) for _ in range(2)]
    with pytest.raises(UserError, match="AP lacks 40 of 40 images"):
        metrics[0].expected_excess()
    for metric in metrics:
        for index, of_image in enumerate(detections):
            metric.update(index, *of_image)
    assert metrics[0].expected_excess() == metrics[1].expected_excess()


def test_without_detections_every_resample_is_0():
    metric = AveragePrecision(("cat", "dog"), TRUTHS, [SIZE] * 3)
    for index in range(3):
        metric.update(index, *found())
    assert metric.resampled(np.ones((4, 3))).tolist() == [0.0] * 4


def test_a_perfect_detector_is_1_in_every_resample():
    truths = [truth((A, 0), (B, index % 2), (C, 1)) for index in range(20)]
    metric = AveragePrecision(("cat", "dog"), truths, [SIZE] * 20)
    for index, boxes in enumerate(truths):
        sure = [
            (tuple(box), 0.5 + index / 100, int(label)) for box, label in zip(boxes.xyxy, boxes.labels, strict=True)
        ]
        metric.update(index, *found(*sure))
    np.testing.assert_allclose(metric.resampled(image_weights("det", 20)), 1)


def test_the_classes_alone_by_hand():
    metric = AveragePrecision(("cat", "dog", "bird"), TRUTHS, [SIZE] * 3)
    for index, of_image in enumerate([[(A, 0.9, 0)], [(C, 0.7, 0)], [(A, 0.9, 2)]]):
        metric.update(index, *found(*of_image))
    np.testing.assert_allclose(metric.per_class(), [1, 0, np.nan])
    assert np.nanmean(metric.per_class()) == pytest.approx(metric.compute()["AP50"])
