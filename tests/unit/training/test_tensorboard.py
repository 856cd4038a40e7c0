"""TensorBoard events: what clu's writer is given, and nothing at all without the extra."""

import sys
import types

import numpy as np
import pytest

from vprjax.training import tensorboard

ROW = {"loss": 0.5, "positive_histogram": [0] * 3 + [2, 1] + [0] * 15}


class Writer:
    """Stands for clu's, which needs TensorFlow."""

    def __init__(self, folder):
        self.folder, self.said = folder, []

    def write_scalars(self, step, scalars):
        self.said.append((step, scalars))

    def write_histograms(self, step, arrays, num_buckets):
        self.said.append((step, arrays, num_buckets))

    def flush(self):
        self.said.append("flushed")

    def close(self):
        self.said.append("closed")


@pytest.fixture
def writers(monkeypatch):
    made = []

    def make(folder):
        made.append(Writer(folder))
        return made[-1]

    monkeypatch.setitem(
        sys.modules, "clu.metric_writers", types.SimpleNamespace(SummaryWriter=make)
    )
    config = types.SimpleNamespace(set_visible_devices=lambda *what: made.append(what))
    monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace(config=config))
    monkeypatch.setattr("clu.metric_writers", sys.modules["clu.metric_writers"], raising=False)
    return made


def test_numbers_become_scalars_and_counts_histograms(tmp_path, monkeypatch, writers):
    monkeypatch.setattr(tensorboard.importlib.util, "find_spec", lambda name: name)
    summaries = tensorboard.Summaries(tmp_path)
    assert not writers
    summaries.write(3, ROW, "train")
    summaries.close()
    hidden, writer = writers
    scalars, (step, arrays, bins), *rest = writer.said
    assert hidden == ([], "GPU")  # they are JAX's
    assert writer.folder == str(tmp_path) and scalars == (3, {"train/loss": 0.5})
    assert step == 3 and bins == {"train/positive_histogram": 20}
    np.testing.assert_allclose(arrays["train/positive_histogram"], [0.35, 0.35, 0.45])
    assert rest == ["flushed", "closed"]


@pytest.mark.parametrize(("installed", "writes"), [(None, True), ("there", False)])
def test_nothing_is_written_without_the_extra_or_by_other_processes(
    tmp_path, monkeypatch, writers, installed, writes
):
    monkeypatch.setattr(tensorboard.importlib.util, "find_spec", lambda name: installed)
    summaries = tensorboard.Summaries(tmp_path, writes)
    summaries.write(3, ROW, "train")
    summaries.close()
    assert not writers


def test_the_events_can_be_read_back(tmp_path):
    pytest.importorskip("tensorflow")
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    summaries = tensorboard.Summaries(tmp_path)
    summaries.write(3, ROW, "train")
    summaries.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    tensors = events.Tags()["tensors"]
    assert {"train/loss", "train/positive_histogram"} <= set(tensors)
    assert [event.step for event in events.Tensors("train/loss")] == [3]
