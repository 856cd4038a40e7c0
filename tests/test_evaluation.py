"""The figures of a split against a count by hand; the report that shows them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from configs import base
from vprjax import evaluation, report


@pytest.fixture
def config():
    c = base.get_config()
    c.dataset.tolerances = (10.0, 5.0, 1.0)
    c.dataset.query_splits = ("test01",)
    c.eval.recalls = (1, 2)
    return c


def measured(config):
    """Four queries; the descriptors of the last two point to references 6 m and 40 m away."""
    references = np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [60.0, 0.0]])
    queries = np.array([[0.5, 0.0], [14.0, 0.0], [26.0, 0.0], [20.0, 0.0]])
    eye = np.eye(4, dtype=np.float32)
    described = np.stack([eye[0], eye[1], eye[2], eye[3] + 0.9 * eye[2]])
    return evaluation.measure(config, queries, references, described, eye)


def test_figures_by_hand(config):
    found = measured(config)
    assert found["fcm"] == {"10": 75.0, "5": 50.0, "1": 25.0}
    assert found["oracle_fcm"] == {"10": 100.0, "5": 75.0, "1": 50.0}
    assert found["recall"] == {"1": 75.0, "2": 100.0}
    assert list(found["matched"]) == [0, 1, 2, 3]
    np.testing.assert_allclose(found["curve"][-1], 75.0)


def test_recall_radius_is_the_configs(config):
    config.eval.recall_radius = 1.0
    assert measured(config)["recall"] == {"1": 25.0, "2": 50.0}


def test_the_report_says_what_was_measured(config, tmp_path):
    dataset = SimpleNamespace(
        name="places_csv/x", version="1.0.0", counts={"test01": 4, "reference": 4}, metadata={}
    )
    provenance = dict.fromkeys(
        ("weights_sha256", "steps", "device", "code_version", "written"), "someword"
    )
    results = {
        "off_the_shelf": {"test01": measured(config)},
        "fine_tuned": {"test01": measured(config)},
    }
    report.write(tmp_path, config, dataset, results, provenance)
    saved = json.loads((tmp_path / "results.json").read_text())
    assert saved["schema"] == 1 and saved["tolerances_m"] == [10.0, 5.0, 1.0]
    assert saved["results"]["fine_tuned"]["test01"]["fcm"] == {"10": 75.0, "5": 50.0, "1": 25.0}
    text = (tmp_path / "results.md").read_text()
    assert "| test01 | fine-tuned | 75.00 | 50.00 | 25.00 | 75.00 | 100.00 |" in text
    assert "| test01 | oracle (ceiling) | 100.00 | 75.00 | 50.00 |" in text
    assert (tmp_path / "fcm.png").stat().st_size > 5000
