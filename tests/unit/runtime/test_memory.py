"""What of the device's and the machine's memory is held, free and at the peak."""

import types

import jax
import pytest

from vprjax.errors import ConfigError
from vprjax.runtime import memory


def test_a_device_reports_its_memory(monkeypatch):
    stats = {"bytes_in_use": 100, "bytes_limit": 1000, "peak_bytes_in_use": 400}
    card = types.SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    assert memory.held_and_free(card) == (100, 900)
    assert memory.held_and_free(types.SimpleNamespace(memory_stats=lambda: None)) == (0, None)
    monkeypatch.setattr(memory.jax, "local_devices", lambda: [card])
    assert memory.measured_peak() == 400


def test_only_a_lack_of_memory_becomes_a_config_error():
    with pytest.raises(ConfigError, match=r"^a step does not fit the device \(RES.*\): lower it$"):
        with memory.fits("a step", "lower it"):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory.\nmore")
    with pytest.raises(jax.errors.JaxRuntimeError, match="a broken card"):
        with memory.fits("a step", "lower it"):
            raise jax.errors.JaxRuntimeError("INTERNAL: a broken card")


def test_control_groups_bound_what_is_free(tmp_path):
    meminfo, own = tmp_path / "meminfo", tmp_path / "cgroup"
    meminfo.write_text("MemTotal: 100 kB\nMemAvailable: 50 kB\n")
    own.write_text("0::/job/step\n")
    inner = tmp_path / "groups" / "job" / "step"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    assert memory.available(meminfo, own, tmp_path / "groups") == 50 * 1024
    for name, text in (
        ("max", "40000"),
        ("current", "30000"),
        ("stat", "inactive_file 9\nactive_file 20"),
    ):
        (inner.parent / f"memory.{name}").write_text(text + "\n")
    assert memory.available(meminfo, own, tmp_path / "groups") == 10029
