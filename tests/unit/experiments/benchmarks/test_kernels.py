"""The choice of faiss's kernel: which are tried, and what a row says of it."""

import importlib.metadata
import json

import pytest
from benchmarks import kernels


@pytest.mark.parametrize(
    ("processor", "wide"),
    [
        ("AMD EPYC, avx512_bf16, 2 cores", True),
        ("Xeon, amx_tile, 2 cores", True),
        ("AMD, avx2", False),
    ],
)
def test_a_kernel_is_tried_only_where_the_processor_runs_it(processor, wide):
    found = kernels.candidates(processor)
    assert found[0] == "" and ("SkylakeX" in found) == wide and "Haswell" in found


def test_a_user_without_settings_is_one_of_the_trials(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "512")
    assert not [key for key in kernels.environment("") if key.startswith("OPENBLAS")]
    assert kernels.environment("Zen")["OPENBLAS_CORETYPE"] == "Zen"


def test_the_fastest_that_works_is_taken_and_told(monkeypatch):
    trials = {"": (4.0, "old"), "Haswell": (2.0, "better"), "Zen": None, "SkylakeX": (1.0, "best")}
    monkeypatch.setattr(kernels, "cpu", lambda: "avx512")
    monkeypatch.setattr(kernels, "measured", trials.get)
    started = []
    monkeypatch.setattr(kernels.os, "execve", lambda *words: started.append(words))
    monkeypatch.delenv(kernels.TOLD, raising=False)
    kernels.restart()
    ((_, _, environment),) = started
    assert environment["OPENBLAS_CORETYPE"] == "SkylakeX"
    monkeypatch.setenv(kernels.TOLD, environment[kernels.TOLD])
    told = {"rival_kernel": "best", "rival_by_itself": "old", "by_itself_slower": 4.0}
    assert kernels.restart() == told == json.loads(environment[kernels.TOLD])
    assert len(started) == 1


def test_a_trial_names_the_kernel_that_faiss_runs():
    """Early wheels hold OpenBLAS within faiss, where nothing names its kernel."""
    pytest.importorskip("faiss")
    pytest.importorskip("threadpoolctl")
    seconds, name = kernels.measured("")
    parts = importlib.metadata.files("faiss-cpu") or ()
    apart = any("openblas" in part.name for part in parts)
    assert seconds > 0 and ("OpenBLAS" in name) == apart
