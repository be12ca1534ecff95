from cl_bench.metrics.rarity import rare_classes


def test_rare_classes_are_named_with_their_boxes_rarest_first():
    classes = ("person", "bird", "cat", "dog", "cup", "book")
    found = rare_classes(classes, [1116, 38, 34, 23, 50, 0])
    assert found == "AP50 hangs on few true boxes: dog (23), cat (34), bird (38)"
    assert rare_classes(classes, [1116, 38, 34, 23, 50, 0], fewer_than=30).endswith("boxes: dog (23)")
    assert rare_classes(classes, [100] * 6) == ""


def test_of_many_rare_classes_some_are_named_and_all_counted():
    found = rare_classes([str(label) for label in range(25)], [1] * 25, 3, "few")
    assert found == f"few: {', '.join(f'{label} (1)' for label in range(20))} and 5 more"
