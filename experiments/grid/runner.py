"""Runs jobs as processes, a fixed number at a time, and shows their progress."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from grid import child
from grid.cells import Job
from vprjax.console import Progress, log

POLL_SECONDS = 0.5
LOG = "log.txt"  # in the job's workdir: its process's output


class Stopped(Exception):
    """SIGTERM or Ctrl-C came; the running jobs have received it and have ended."""


class Runner:
    """Slots for processes, each with its own GPU of several or, without GPUs, its share of the cores."""

    def __init__(self, slots: int, devices: list[str]):
        """`slots` processes at a time; slot i sees `devices[i % len(devices)]` alone."""
        self._devices = devices
        self._cores = [] if devices else shares(sorted(os.sched_getaffinity(0)), slots)
        self._free = list(range(slots))
        self._running: list[tuple[Job, subprocess.Popen, int, float]] = []
        self.failed: list[Job] = []

    def run(self, jobs: list[Job], progress: "GridProgress") -> None:
        """Runs `jobs` in order; `failed` collects failed ones and the others run on.

        Raises:
          Stopped: SIGTERM or Ctrl-C.
        """
        waiting, came = list(jobs), []
        # The handler only notes the signal: an exception while a job starts would lose that job.
        before = {
            s: signal.signal(s, lambda number, _: came.append(number))
            for s in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            while waiting or self._running:
                if came:
                    raise Stopped(f"stopped by {signal.Signals(came[0]).name}")
                while waiting and self._free:
                    self._start(waiting.pop(0))
                time.sleep(POLL_SECONDS)
                self._reap(progress)
                progress.look([job for job, *_ in self._running])
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self, job: Job) -> None:
        slot = self._free.pop(0)
        job.note_config()
        with (job.workdir / LOG).open("a") as output:
            process = subprocess.Popen(
                [sys.executable, *job.words],
                env=_environment(slot, self._devices),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches this process alone, which passes SIGTERM on
                preexec_fn=self._in_child(slot),
            )
        log(f"{job.name} seed {job.seed} starts; its output goes to {job.workdir / LOG}")
        self._running.append((job, process, slot, time.monotonic()))

    def _in_child(self, slot: int) -> Callable[[], None]:
        def prepare():
            child.die_with_parent()
            if self._cores:
                os.sched_setaffinity(0, self._cores[slot])

        return prepare

    def _reap(self, progress: "GridProgress") -> None:
        still = []
        for entry in self._running:
            job, process, slot, began = entry
            if process.poll() is None:
                still.append(entry)
                continue
            self._free.append(slot)
            if process.returncode == 0 and job.results.exists():
                progress.finished(job, time.monotonic() - began)
            else:
                self.failed.append(job)
                log(f"{job.name} seed {job.seed} failed: {last_line(job)} ({job.workdir / LOG})")
        self._running = still

    def _end(self) -> None:
        """Sends SIGTERM to running jobs, which save, and waits for them; kills them after 120 s."""
        for _, process, *_ in self._running:
            process.terminate()
        for _, process, *_ in self._running:
            try:
                process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running = []


def _environment(slot: int, devices: list[str]) -> dict[str, str]:
    chosen = {"CUDA_VISIBLE_DEVICES": devices[slot % len(devices)]} if len(devices) > 1 else {}
    return {**os.environ, **chosen}


def shares(cores: list[int], slots: int) -> list[list[int]]:
    """The cores of each slot; runs with a core each finish sooner than runs that share all cores."""
    return [cores[slot::slots] or [cores[slot % len(cores)]] for slot in range(slots)]


def visible_gpus() -> list[str]:
    """Numbers of this machine's NVIDIA GPUs, or those in CUDA_VISIBLE_DEVICES."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(i) for i in range(len(lines))]


def last_line(job: Job) -> str:
    """The last line of a job's log."""
    lines = (job.workdir / LOG).read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "its log is empty"


def steps_done(workdir: pathlib.Path) -> int:
    """The last step in a run's log, or 0."""
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return 0
    for line in reversed(path.read_text().splitlines()):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError):
            continue  # a kill cut this line
    return 0


class GridProgress:
    """One bar (or plain lines) with ETA over the steps of all jobs; a finished job adds one unit."""

    def __init__(self, jobs: list[Job]):
        """Counts finished jobs and logged steps."""
        self._done = {id(job): _units(job, job.results.exists()) for job in jobs}
        self._count, self._jobs = sum(job.results.exists() for job in jobs), len(jobs)
        total = sum(_units(job, True) for job in jobs)
        log(f"{self._count} of {self._jobs} runs are finished")
        self._bar = Progress("grid", total, "steps", sum(self._done.values()))

    def look(self, running: list[Job]) -> None:
        """Counts the steps that running jobs have logged since the last look."""
        for job in running:
            self._advance(job, _units(job, False))

    def finished(self, job: Job, seconds: float) -> None:
        """Counts and logs a whole job."""
        self._advance(job, _units(job, True))
        self._count += 1
        log(f"{job.name} seed {job.seed}: {seconds:.0f} s, {self._count} of {self._jobs} finished")

    def _advance(self, job: Job, units: int) -> None:
        if units > self._done[id(job)]:
            self._bar.advance(units - self._done[id(job)])
            self._done[id(job)] = units

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()


def _units(job: Job, finished: bool) -> int:
    return job.steps + 1 if finished else min(job.steps, steps_done(job.workdir))
