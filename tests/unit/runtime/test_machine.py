"""What records say of the processor."""

import os

from vprjax.data import pictures
from vprjax.retrieval import threads
from vprjax.retrieval.baselines import images
from vprjax.runtime import machine


def test_cpu_is_named_with_its_widest_instructions_and_usable_cores(tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: Some CPU @ 2 GHz\nflags\t\t: sse2 avx2 avx512f\n" * 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1}, raising=False)
    assert machine.cpu(info) == "Some CPU @ 2 GHz, avx512f, 1 core"
    info.write_text("model name\t: Some CPU @ 2 GHz\nflags\t\t: sse2 avx2\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3}, raising=False)
    assert machine.cpu(info) == "Some CPU @ 2 GHz, avx2, 2 cores"
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert machine.cpu(tmp_path / "none") == "arm, 2 cores"  # no /proc there
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert machine.cpu(tmp_path / "none") == "arm, 8 cores"


def test_a_kind_is_an_architecture_and_its_instructions(tmp_path, monkeypatch):
    def kind(text):
        (tmp_path / "cpuinfo").write_text(text)
        return machine.kind(tmp_path / "cpuinfo")

    some = kind("model name : Some CPU\nflags : sse2 avx2\n")
    assert some == kind("model name : Another\nflags\t\t: sse2 avx2\n\n" * 2)
    arm = kind("Features : asimd\n")
    assert len({some, arm, kind("flags : sse2\n"), machine.kind(tmp_path / "none")}) == 4
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert kind("model name : Some CPU\nflags : sse2 avx2\n") != some


def test_threads_are_as_many_as_a_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 5, 7}, raising=False)
    assert (
        machine.cores()
        == images.pool()._max_workers
        == threads._pool.__wrapped__()._max_workers
        == 3
    )
    assert pictures._readers.__wrapped__()._max_workers == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # macOS has none
    assert machine.cores() == images.pool()._max_workers == 64
