"""What counts as a sound run of a cell."""

import pytest

from experiments import train_every_cell


def row(step, **changes):
    sound = {"loss": 1 / step, "variance": 0.5, "effective_rank": 6.0, "grad_norm": 1.0}
    return {"step": step, **sound, **changes}


@pytest.mark.parametrize(
    ("changes", "sound"),
    [
        ({}, True),
        ({"grad_norm": float("nan")}, False),
        ({"variance": 0.1}, False),
        ({"effective_rank": 1.2}, False),
        ({"loss": 0.2}, False),  # as at step 5: nothing moves
    ],
)
def test_soundness(changes, sound):
    found = train_every_cell.judged([row(5), row(10, **changes)], trained=True)
    assert found["sound"] is sound and found["steps"] == 10 and found["loss_first"] == 0.2
    assert not train_every_cell.judged([row(5), row(10)], trained=False)["sound"]
