from cl_bench.metrics.rarity import rare_classes


def test_rare_classes_are_named_with_their_boxes_rarest_first():
    classes = ("person", "bird", "cat", "dog", "cup", "book")
    found = rare_classes(classes, [1116, 38, 34, 23, 50, 0])
    assert found == "AP50 hangs on few true boxes: dog 23, cat 34, bird 38"
    assert rare_classes(classes, [1116, 38, 34, 23, 50, 0], fewer_than=30).endswith("boxes: dog 23")
    assert rare_classes(classes, [100] * 6) == ""
