"""Rows and configs of results: what they leave out, what today's key names change."""

import pytest
from analysis import rows

from tests.helpers import made_up_runs
from vprjax.config import changes
from vprjax.errors import DataError

CELL = ("vgg16", "netvlad", "arcface")


def results(seed=0, **provenance):
    document = made_up_runs.document(CELL, seed, 40.0)
    document["provenance"] |= provenance
    return document


def test_a_row_per_figure():
    found = rows.of_results(results(seed=3, code_version="1 (abc)", weights_sha256="random"), "a")
    assert len(found.rows) == 2 * 2 * 4 and len(found.configs) == 1
    row = next(r for r in found.rows if r.model == "fine_tuned")
    assert row[:8] == (
        *("a", "synthetic/tiny:1.1.0", "vgg16-netvlad-arcface", "3"),
        *("test01", "fine_tuned", "25", "40.0"),
    )
    assert (row.low, row.high, row.oracle) == ("39.0", "41.0", "100.0")
    assert (row.code_version, row.weights_sha256) == ("1 (abc)", "random")
    assert row.config == row.trained_with == next(iter(found.configs))
    assert row.parts == ("arcface", "netvlad", "vgg16")


@pytest.mark.parametrize(
    ("device", "machine", "shown"),
    [
        ("1 x cpu", "AMD EPYC, avx2, 2 cores, Python 3.11.7", "AMD EPYC, avx2, 2 cores"),
        ("1 x cpu", "x86_64, Python 3.11.7", ""),
        ("8 x TPU v4", "x86_64, Python 3.11.7", "8 x TPU v4"),
    ],
)
def test_machine(device, machine, shown):
    assert rows.of_results(results(device=device, machine=machine), "a").rows[0].machine == shown


def test_a_config_is_the_same_for_every_seed_and_on_every_machine():
    config = made_up_runs.document(CELL, 0, 1.0)["provenance"]["config"]
    config["model"]["weights"] = "/here/weights.npz"
    config["dataset"]["data_dir"] = "/here"
    other = made_up_runs.document(CELL, 7, 1.0)["provenance"]["config"]
    other["model"]["weights"] = "/there/weights.npz"
    assert rows.portable(config) == rows.portable(other)
    assert rows.portable(rows.portable(config)) == rows.portable(config)
    other["model"]["projection"] = 512
    assert rows.digest(rows.portable(config)) != rows.digest(rows.portable(other))


def test_another_losss_keys_change_no_digest():
    config = made_up_runs.document(CELL, 0, 1.0)["provenance"]["config"]
    before = rows.portable(config)
    config["loss"] |= {"triplet": {"margin": 0.7}, "made_up": {"scale": 3.0}}
    config["model"] |= {"gem": {"p": 9.0}}
    assert rows.portable(config) == before
    config["loss"]["arcface"] = {"scale": 9.0}
    assert (
        rows.portable(config)["loss"]["arcface"]["scale"] == 9.0 and rows.portable(config) != before
    )


def test_todays_keys_give_new_digests_and_forgotten_configs_go(monkeypatch):
    found = rows.of_results(results(), "a")
    found = rows.Record(found.rows, found.configs | {"unused": next(iter(found.configs.values()))})
    monkeypatch.setattr(changes, "LATER", {"model.stage": "conv5"})
    new = rows.renewed(found)
    (name,) = new.configs
    assert name not in found.configs and new.configs[name]["model"]["stage"] == "conv5"
    assert {(row.config, row.trained_with) for row in new.rows} == {(name, name)}
    assert rows.renewed(new) == new


def test_files_read_as_they_were_written(tmp_path):
    found = rows.of_results(results(machine="a, b"), "set+key=1")
    rows.write(tmp_path, found)
    assert rows.read(tmp_path) == found
    (tmp_path / rows.CONFIGS).write_text("")
    with pytest.raises(DataError, match="holds no record of runs \\(KeyError"):
        rows.read(tmp_path)
