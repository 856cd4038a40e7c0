"""A collapsed model is named: in the log of its training, and beside its figures."""

import jax
import numpy as np
import pytest

from configs import base
from tests.helpers.memory_places import standing
from vprjax.evaluation import collapse, measure
from vprjax.training import health


def row(step, **changes):
    return {"step": step, "loss": 1 / step, "variance": 0.5, "effective_rank": 6.0, **changes}


def test_sound_logs_leave_no_doubt():
    assert collapse.training_doubts([], 1e-5) == []
    assert collapse.training_doubts([row(10)], 1e-5) == []
    assert collapse.training_doubts([row(10), row(20)], 1e-5) == []
    assert collapse.training_doubts([{"step": 10, "loss": 1.0}, {"step": 20, "loss": 0.5}], 1) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"variance": 5e-5}, "variance 5e-05 where above 0.001 is sound"),
        ({"effective_rank": 1.2}, "effective rank 1.2 where above 1.5 is sound"),
        ({"variance": float("nan")}, "variance nan"),
    ],
)
def test_a_collapse_names_its_steps_its_figures_and_a_remedy(change, words):
    (found,) = collapse.training_doubts([row(10), row(20, **change), row(30)], 1000.0)
    assert words in found and "optim.learning_rate=1000" in found
    assert "1 of 3 logged rows, the first at step 20, the last at 20, have" in found
    (found,) = collapse.training_doubts([row(10), row(20, **change)], 1000.0)
    assert "the last one included" in found
    assert words in collapse.row_words(row(20, **change), 1000.0)
    assert "training images" not in found
    (found,) = collapse.training_doubts([row(10, **change), row(20)], 1000.0)
    assert "as it was so from the start, look at the training images" in found


def test_a_loss_that_never_moves_is_doubtful():
    (found,) = collapse.training_doubts([row(10, loss=0.5), row(20, loss=0.5)], 1e-5)
    assert found.startswith("the loss stayed at 0.5 in all 2 logged rows")


@pytest.mark.parametrize("n", [2, 7, 60])
def test_the_spread_is_that_of_training(n):
    rows = np.random.default_rng(n).normal(size=(n, 9)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    wanted = jax.vmap(lambda d: health.spread(d, "batch"), axis_name="batch")(rows[None])
    assert collapse.spread(rows) == pytest.approx(
        {name: float(value[0]) for name, value in wanted.items()}, rel=1e-4
    )


@pytest.mark.parametrize("noise", [0.0, 1e-3, 0.3])
def test_descriptors_in_one_point_are_named_beside_the_figures(noise):
    config, rng = base.get_config(), np.random.default_rng(0)
    config.eval.recalls = (1,)
    rows = np.eye(8, dtype=np.float32)[0] + noise * rng.normal(size=(50, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    sides = [measure.Described(standing(np.eye(50)[:, :2]), rows) for _ in range(2)]
    found = measure.measure(config, *sides).figures
    if noise == 0.3:
        assert found.warnings == [] and "warnings" not in found.to_json()
    else:
        assert found.to_json()["warnings"] == found.warnings
        assert found.warnings[0].startswith("the references' descriptors have collapsed (variance ")


def test_queries_of_one_view_are_named():
    """A lens cap: the references are sound, and every query gets the same one."""
    config, rng = base.get_config(), np.random.default_rng(0)
    config.eval.recalls = (1,)
    rows = rng.normal(size=(50, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    places = standing(np.arange(50.0)[:, None] * [10.0, 0.0])
    others = measure.Described(places, rows)
    black = np.repeat(rows[:1], 50, axis=0)
    for queries, told in ((black, True), (rows, False)):
        found = measure.measure(config, measure.Described(places, queries), others).figures.warnings
        assert [("queries' descriptors nearly coincide" in words) for words in found] == [
            True
        ] * told
    assert not collapse.query_doubts(rows[:1])
