"""Queries without negatives, from the poses alone: what is refused, and that the advice helps."""

import re

import numpy as np
import pytest

from configs import base
from tests.helpers.memory_places import standing
from vprjax import sampling


def config(**tuples):
    c = base.get_config()
    c.train.steps = 10
    c.tuples.update({"batch": 2, "mining_interval": 5, "positive_radius": 3.0} | tuples)
    return c


def line(n=40, step=2.0):
    return standing(np.stack([step * np.arange(n), np.zeros(n)], axis=1))


def refusal(c, places):
    with pytest.raises(ValueError) as error:
        sampling.make_sampler(c, places)
    return str(error.value)


@pytest.mark.parametrize("positive", [3.0, 60.0])
def test_the_radius_that_the_sentence_names_trains(positive):
    c = config(negative_radius=70.0, positive_radius=positive, negatives=5)
    words = refusal(c, line())
    assert "queries, image" in words and "among them" in words
    assert "of 40 training images beyond tuples.negative_radius=70 for tuples.negatives=5" in words
    assert "all positions span 78 x 0 m" in words
    assert ("tuples.positive_radius below it, 60 now" in words) is (positive == 60.0)
    c.tuples.negative_radius = float(re.search(r"negative_radius to (\S+) or less", words)[1])
    c.tuples.positive_radius = 3.0
    sampler = sampling.make_sampler(c, line())
    sampler.mine(0, lambda images: np.ones((len(images), 2), np.float32))


def test_what_no_radius_cures_has_another_advice():
    words = refusal(config(negative_radius=25.0), standing(np.zeros((40, 2))))
    assert "span 0 x 0 m: add training images of other places, or check the unit" in words
    degrees = standing(np.stack([4.3 + 1e-5 * np.arange(40), np.full(40, 50.8)], axis=1))
    assert "span 0.00039 x 0 m" in refusal(config(negative_radius=25.0), degrees)
    words = refusal(config(negative_radius=25.0, negatives=50), line())
    assert "lower tuples.negatives to 39 at most or add training images" in words


def test_negatives_of_the_batch_need_one_query_with_an_image_beyond():
    c = config(negatives=0, in_batch="hardest", negative_radius=77.0)
    sampling.make_sampler(c_steps(c, 40), line())  # the first and the last image are 78 apart
    c.tuples.negative_radius = 79.0
    assert "for tuples.in_batch=hardest" in refusal(c, line())


def test_only_queries_that_training_draws_are_asked():
    positions = np.stack([2.0 * np.arange(400), np.zeros(400)], axis=1)
    positions[:10] = positions[200]  # 10 of 400 have nobody beyond the radius
    c = config(negative_radius=398.5, mining_interval=1, batch=1)
    assert "of 400 queries" in refusal(c_steps(c, 4000), standing(positions))
    sampling.make_sampler(c_steps(c, 0), standing(positions))
    drawn = [refused(c_steps(c, 1, seed), positions) for seed in range(40)]
    assert {True, False} == set(drawn)


def c_steps(c, steps, seed=0):
    c.train.steps, c.seed = steps, seed
    return c


def refused(c, positions):
    try:
        sampling.make_sampler(c, standing(positions)).mine(
            0, lambda images: np.ones((len(images), 2), np.float32)
        )
    except ValueError as error:
        assert "tuples.negative_radius" in str(error)
        return True
    return False


def test_each_pool_is_asked_and_only_from_the_step_on():
    c = config(negative_radius=60.0, negatives=4, mining_pool=6)
    sampler = sampling.make_sampler(c, line(100))
    with pytest.raises(ValueError, match=r"mining round 0 draws tuples\.mining_pool=6 images.*all"):
        sampler.check_rounds(0)
    sampler.check_rounds(10)  # nothing is left to mine
    c.tuples.mining_pool = 0
    sampling.make_sampler(c, line(100)).check_rounds(0)


@pytest.mark.parametrize(
    ("places", "tuples", "says"),
    [
        (line(step=700.0), {}, "within tuples.positive_radius=3, as the nearest two lie 700 m apart: ch"),
        (line(1), {}, "none of 1 training images has a positive: name more splits in dataset.train_splits"),
        (line(), {"other_visit_seconds": 60.0}, "are of one: lower tuples.other_visit_seconds=60, the pau"),
    ],
)  # fmt: skip
def test_why_there_are_no_positives(places, tuples, says):
    words = refusal(config(**tuples), places)
    assert says in words
    assert ("other_visit_seconds" in words) is bool(tuples), "a pause of 0 cannot be lowered"
