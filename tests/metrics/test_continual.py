from cl_bench.metrics.statistics import t_interval

"""Known answers for drop, forgetting, transfer, intervals and verdict."""

import math

import numpy as np
import pytest

from cl_bench.metrics import continual, power


def test_relative_drop_is_signed():
    assert continual.relative_drop(0.8, 0.6) == pytest.approx(0.25)
    assert continual.relative_drop(0.5, 0.6) == pytest.approx(-0.2)
    assert math.isnan(continual.relative_drop(0.0, 0.3))


def test_drop_over_seeds_is_the_ratio_of_means_not_the_mean_of_ratios():
    # mean of ratios would be (0.5 + 0) / 2 = 0.25; ratio of means is (0.5 - 0.4) / 0.5
    assert continual.ratio_of_means_drop([0.4, 0.6], [0.2, 0.6]) == pytest.approx(0.2)
    assert math.isnan(continual.ratio_of_means_drop([], []))


def test_points_are_hundredths():
    assert continual.drop_points(0.412, 0.4) == pytest.approx(1.2)


def test_same_run_drop_forgetting_transfer_and_intransigence():
    scores = [0.5, 0.6, 0.3]  # right after it was learnt, a stage later, at the end
    assert continual.same_run_drop(scores[0], scores[-1]) == pytest.approx(0.4)
    assert continual.forgetting(scores) == pytest.approx(0.3)
    assert continual.backward_transfer(scores[0], scores[-1]) == pytest.approx(-0.2)
    assert continual.intransigence(0.55, scores[0]) == pytest.approx(0.05)


def test_forgetting_of_a_task_that_gained_or_was_learnt_last_is_zero():
    assert continual.forgetting([0.3, 0.4]) == 0
    assert continual.forgetting([0.3]) == 0
    assert math.isnan(continual.forgetting([]))


def test_t_interval_by_hand():
    # mean 2, sd 1, t(2 degrees, 97.5 %) = 4.302653, half-width 4.302653 / sqrt(3) = 2.484138
    assert t_interval([1, 2, 3]) == pytest.approx((-0.484138, 4.484138), abs=1e-6)
    assert t_interval([1, 2, 3], level=0.5) == pytest.approx((2 - 0.471405, 2 + 0.471405), abs=1e-6)
    assert t_interval([1.0]) is None


def test_drop_interval_by_hand():
    # means 0.5 and 0.4, ratio 0.8; residuals f - 0.8 b: 0.02, -0.02; sd 0.0282843, se 0.02; t(1) = 12.706205
    low, high = continual.drop_interval([0.4, 0.6], [0.34, 0.46])
    assert (low, high) == pytest.approx((0.2 - 12.706205 * 0.02 / 0.5, 0.2 + 12.706205 * 0.02 / 0.5), abs=1e-6)


def test_drop_interval_is_paired_by_seed():
    # every seed drops by exactly a tenth, however far the seeds lie apart
    assert continual.drop_interval([0.4, 0.6, 0.5], [0.36, 0.54, 0.45]) == pytest.approx((0.1, 0.1))


def test_drop_interval_without_an_answer():
    assert continual.drop_interval([0.5], [0.4]) is None
    assert continual.drop_interval([], []) is None
    assert continual.drop_interval([0.0, 0.0], [0.1, 0.2]) is None
    with pytest.raises(ValueError, match="do not pair"):
        continual.drop_interval([0.5, 0.4], [0.4])


@pytest.mark.parametrize(
    ("baseline", "final", "interval", "trivial", "expected"),
    [
        (0.5, 0.49, (0.01, 0.03), 0.1, "pass"),
        (0.5, 0.49, (-0.02, 0.06), 0.1, "pass (uncertain)"),
        (0.5, 0.49, None, 0.1, "pass (uncertain)"),
        (0.5, 0.40, (0.15, 0.25), 0.1, "fail"),
        (0.5, 0.40, (-0.1, 0.5), 0.1, "fail (uncertain)"),
        (0.5, 0.40, None, 0.1, "fail (uncertain)"),
        (0.5, 0.55, (-0.12, -0.08), 0.1, "bonus"),
        (0.5, 0.50, (-0.01, 0.01), 0.1, "bonus (uncertain)"),  # the border of a bonus is 0, not 5 %
        (0.5, 0.50, (0.0, 0.0), 0.1, "bonus"),  # no seed and no image differs, and an equal score is a bonus
        (0.5, 0.5315, (-0.160, 0.033), 0.1, "bonus (uncertain)"),
        (0.5, 0.49, (-0.02, 0.03), 0.1, "pass"),  # whether it is a bonus is not what the word says
        (0.5, 0.55, (-0.5, 0.3), 0.1, "bonus (uncertain)"),
        (0.5, 0.55, None, 0.1, "bonus (uncertain)"),
        (0.14, 0.14, (-0.01, 0.01), 0.1, "void"),
        (0.15, 0.15, (-0.01, 0.0), 0.1, "bonus"),  # 0.1 + 0.05 exceeds 0.15 in floating point
        (1.0, 0.95, (0.049, 0.0495), 0.1, "pass"),  # (1 - 0.95) / 1 exceeds 0.05 in floating point
        (0.0, 0.0, None, 0.0, "void"),
        (math.nan, 0.3, None, 0.1, "void"),
        (0.5, math.nan, None, 0.1, "void"),
        (0.5, 0.4, (0.15, 0.25), math.nan, "void"),
    ],
)
def test_verdict(baseline, final, interval, trivial, expected):
    drop = continual.relative_drop(baseline, final)
    assert continual.verdict(drop, interval, baseline, final, trivial) == expected


@pytest.mark.parametrize(
    ("score", "moved", "expected"),
    [
        (0.75, 0.0, "bonus"),
        (0.75, 0.1, "bonus (uncertain)"),
        (0.74, 0.1, "pass (uncertain)"),
        (0.5, 0.1, "fail (uncertain)"),
        (0.5, 0.0, "fail"),
    ],
)
def test_seeds_that_are_alike_on_these_images_alone_settle_nothing(score, moved, expected):
    seeds, draws = range(3), np.random.default_rng(0).standard_normal((3, 1000))
    images = {seed: (np.full(1000, 0.75), score + moved * draws[seed]) for seed in seeds}
    found = continual.task_summary(
        dict.fromkeys(seeds, 0.75), {seed: [0.9, score] for seed in seeds}, 0.1, images=images
    )
    assert found["verdict"] == expected
    assert all(math.isnan(number) for number in power.settling(found, 4).values())


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize(("final", "spread"), [(0.38, 0.03), (0.05, 0.02)])
def test_drop_interval_covers_the_truth(seeds, final, spread):
    random = np.random.default_rng(seeds)
    baseline, repeats = 0.40, 4000
    covariance = [[0.02**2, 0.5 * 0.02 * spread], [0.5 * 0.02 * spread, spread**2]]
    draws = random.multivariate_normal([baseline, final], covariance, size=(repeats, seeds))
    intervals = [continual.drop_interval(*draw.T.tolist()) for draw in draws]
    truth = (baseline - final) / baseline
    coverage = sum(low <= truth <= high for low, high in intervals) / repeats
    print(f"coverage with {seeds} seeds, final {final}: {coverage:.4f}")
    assert 0.93 <= coverage <= 0.97


@pytest.mark.parametrize(
    ("drops", "leading"),
    [
        ({"a": {0: 0.1, 1: 0.11, 2: 0.09}, "b": {0: 0.5, 1: 0.52, 2: 0.48}}, {"a"}),
        ({"a": {0: 0.1, 1: 0.2, 2: 0.0}, "b": {0: 0.2, 1: 0.0, 2: 0.12}}, set()),  # noise
        ({"a": {0: 0.1, 1: 0.2}, "b": {0: 0.2, 1: 0.1}, "c": {0: 0.9, 1: 1.0}}, {"a", "b"}),
        ({"a": {0: 0.1}, "b": {0: 0.9}}, set()),  # one seed tells nothing
        ({"a": {0: 0.1, 1: 0.1}, "b": {}}, set()),
        ({"a": {0: 0.1, 1: 0.1}, "b": {0: 0.1, 1: 0.1}, "c": {0: 0.2, 1: 0.2}}, {"a", "b"}),
        ({}, set()),
    ],
)
def test_leaders(drops, leading):
    finals = {name: {seed: 0.4 * (1 - drop) for seed, drop in seeds.items()} for name, seeds in drops.items()}
    assert continual.leaders(dict.fromkeys(range(3), 0.4), finals) == leading


def test_who_leads_on_these_seeds_alone_does_not_where_images_can_tell_otherwise():
    baselines, finals = {0: 0.4, 1: 0.4}, {"a": {0: 0.39, 1: 0.391}, "b": {0: 0.36, 1: 0.361}}
    still, noise = np.full(100, 0.4), np.random.default_rng(0).normal(0, 0.03, 100)
    images = {
        name: {seed: (still, score + noise * (name == "b")) for seed, score in scores.items()}
        for name, scores in finals.items()
    }
    assert continual.leaders(baselines, finals) == {"a"}
    assert continual.leaders(baselines, finals, images) == set()


def test_compare_covers_seeds_and_images():
    draws = 0.05 * np.random.default_rng(0).standard_normal(400)
    baselines, runs = {0: 0.50, 1: 0.52}, {0: [0.5, 0.45], 1: [0.5, 0.46]}
    images = {seed: (np.full(400, baselines[seed]), runs[seed][-1] + draws) for seed in runs}
    plain, both = (continual.task_summary(baselines, runs, 0.1, images=given) for given in (None, images))
    assert math.isnan(plain["images_deviation"])
    assert plain["seeds_deviation"] == both["seeds_deviation"] > 0
    assert both["images_deviation"] == pytest.approx(draws.std(ddof=1) / 0.51)
    assert continual.drop_interval([0.5, 0.52], [0.45, 0.46], tuple(zip(*images.values(), strict=True))) == (
        both["drop_low"],
        both["drop_high"],
    )
    assert continual.task_summary(baselines, runs, 0.1, images={0: images[0]}) == pytest.approx(plain, nan_ok=True)


def test_compare_of_one_seed_knows_the_images_alone():
    images = {0: (np.full(3, 0.5), np.array([0.4, 0.5, 0.45]))}
    found = continual.task_summary({0: 0.5}, {0: [0.45]}, 0.1, images=images)
    assert found["images_deviation"] == pytest.approx(0.1)
    assert math.isnan(found["seeds_deviation"])
    assert math.isnan(found["drop_low"])
    assert found["verdict"] == "fail (uncertain)"
