"""The comparison's statistics: intervals, false positives, and the answers to its questions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cycle_core.bench.methods import METHODS
from cycle_core.bench.questions import QUESTIONS, answered, answers, asked, difference
from cycle_core.bench.report import DOMAIN
from cycle_core.bench.statistics import estimate, holm
from cycle_core.cli import main

DEVIATIONS = [  # of seeds, of pictures, of the rest
    (1, 0, 0.1), (0, 1, 0.1), (1, 1, 1), (0.3, 1, 1), (1, 0.3, 0.3), (0, 0, 1),
]  # fmt: skip


def tables(seeds: int, pictures: int, of: tuple[float, float, float], count: int, seed: int = 0):
    """Numbers [seeds, pictures] whose true mean is 0, `count` times."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield (
            of[0] * rng.standard_normal((seeds, 1))
            + of[1] * rng.standard_normal((1, pictures))
            + of[2] * rng.standard_normal((seeds, pictures))
        )


@pytest.mark.parametrize("of", DEVIATIONS)
@pytest.mark.parametrize(("seeds", "pictures"), [(3, 20), (10, 20)])
def test_a_mean_of_zero_is_called_another_once_in_twenty_times_at_most(seeds, pictures, of):
    ps = np.array([estimate(table).p for table in tables(seeds, pictures, of, 1000)])
    assert (ps < 0.05).mean() < 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5


def test_a_mean_that_is_there_is_found_and_covered():
    found = [estimate(table + 1.0) for table in tables(10, 20, (0.5, 0.5, 0.5), 300)]
    assert np.mean([one.p < 0.05 for one in found]) > 0.9
    assert np.mean([one.low < 1 < one.high for one in found]) > 0.9


def test_of_one_training_it_is_the_t_test_of_the_pictures_and_of_one_picture_of_the_trainings():
    values = np.random.default_rng(0).normal(0.4, 1, 12)
    expected: Any = stats.ttest_1samp(values, 0)
    for table in ([values.tolist()], values[:, None].tolist()):
        found = estimate(table)
        assert found.p == pytest.approx(expected.pvalue)
        assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert str(estimate([[0.5]])) == "0.500"


def test_holm_s_correction_is_that_of_scipy_s_neighbours():
    # worked by hand: 4 * .01, 3 * .015, then no smaller than the one before, and at most 1
    assert holm([0.03, 0.01, 0.9, 0.015]) == pytest.approx([0.06, 0.04, 0.9, 0.045])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


# ------------------------------------------------------------------ questions
def result(method: str, seed: int, name: str, part: str, measure: str, values) -> dict:
    facts = {"method": method, "seed": seed, "set": name}
    empty = {"pivot": {}, "edited": {}, "tuned": {}, "edited tuned": {}}
    return {"facts": facts, **empty, part: {measure: list(values)}}


def test_a_difference_is_paired_by_picture_and_seed():
    """Pictures differ by far more than methods do, and one method has been trained thrice."""
    pictures = np.linspace(0, 10, 20)
    results = [result("optimise-w", 0, "inside", "pivot", "lpips", pictures)]
    for seed in (0, 1, 2):
        results.append(result("cycle", seed, "inside", "pivot", "lpips", pictures[:15] + 0.1))
    found = difference(results, "cycle", "optimise-w", "pivot", "lpips")
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert difference(results, "cycle", "e4e", "pivot", "lpips") is None
    assert difference(results, "cycle", "optimise-w", "pivot", "lec") is None


@pytest.mark.parametrize(
    ("shift", "verdict"), [(-1, "held"), (1, "not held: the opposite"), (0, "cannot be seen here")]
)
def test_a_question_is_held_not_held_or_not_to_be_seen(shift, verdict):
    question, results = QUESTIONS[0], []
    for seed, table in enumerate(tables(5, 20, (0.1, 0.1, 0.1), 5, seed=1)):
        pictures = table[0]
        for method, more in ((question.other, 0), (question.one, shift)):
            noise = np.random.default_rng(seed).normal(0, 0.1, 20) * (method == question.one)
            results.append(
                result(
                    method, seed, "inside", question.part, question.measure, pictures + more + noise
                )
            )
    (answer,) = answers(results, [replace(question, sets=("inside",))])
    assert answer.verdict == verdict
    assert (f"**{verdict}**" in answered(results)) == (shift != 0)


def test_more_questions_ask_for_smaller_ps():
    rng = np.random.default_rng(0)
    first = QUESTIONS[0]
    results = [
        result(method, seed, "inside", first.part, first.measure, rng.normal(mean, 1, 20))
        for seed in range(3)
        for method, mean in ((first.one, -0.5), (first.other, 0.0))
    ]
    one, five = answers(results, [first]), answers(results, [first] * 5)
    assert five[0].p == pytest.approx(min(1.0, 5 * one[0].p))


def test_every_question_is_of_methods_that_there_are():
    keys = {method.key for method in METHODS}
    assert {key for q in QUESTIONS for key in (q.one, q.other)} <= keys
    assert asked(DOMAIN.methods).count("\n") == len(QUESTIONS) + 1


def test_the_command_prints_the_questions(capsys):
    assert main(["bench", "--questions"]) == 0
    assert QUESTIONS[0].claim in capsys.readouterr().out


def test_an_interval_is_never_wider_than_of_the_fewest_degrees_of_freedom():
    rest = np.array([[1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, 1.0]])  # nothing but the rest varies
    found = estimate(0.5 + 0.1 * rest + 1e-6 * np.arange(8).reshape(2, 4))
    assert 0.4 < found.low < 0.5 < found.high < 0.6
