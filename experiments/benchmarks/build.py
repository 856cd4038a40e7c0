"""Throughput of a RobotCar build against a plain OpenCV loop over the same frames.

    python experiments/benchmark.py --rounds=1 --json=FILE build --work=runs/benchmark_build

Writes `--frames` synthetic 1024x1024 Bayer PNGs with timestamps and poses into a tar, which later runs use
again. Then it times two contestants in turn. The plain loop decodes, demosaics, resizes and encodes the
tar's members. The build is `python -m tfds_builders build robotcar` as its own process, with its peak
memory. A smooth scene with sensor noise gives a PNG about the size of a real one (`raw_mb_a_frame`).
"""

import argparse
import io
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable

import cv2
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAVERSAL = "2019-01-10-11-46-21-radar-oxford-10k"
PAPER_FRAMES = 135_642  # Table I, four traversals
SIZE, STORED, QUALITY = 1024, 256, 92
START, STEP = 1_547_120_789_000_000, 59_000  # microseconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument(
        "--work", type=pathlib.Path, required=True, help="folder for raw and built data"
    )


def frame(number: int) -> bytes:
    """A Bayer PNG: a smooth scene that drifts, with sensor noise."""
    rng = np.random.default_rng(number % 16)
    coarse = rng.integers(0, 255, (40, 40), dtype=np.uint8)
    scene = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    scene = np.roll(scene, 7 * number, axis=1)
    noise = rng.normal(0, 2.5, scene.shape).astype(np.float32)
    raw = np.clip(scene + noise, 0, 255).astype(np.uint8)
    return cv2.imencode(".png", raw)[1].tobytes()


def write_raw(folder: pathlib.Path, frames: int) -> pathlib.Path:
    """Writes the traversal's camera and gps tars; returns the camera's path."""
    folder.mkdir(parents=True, exist_ok=True)
    camera = folder / f"{TRAVERSAL}_mono_left.tar"
    times = [START + STEP * i for i in range(frames)]
    if (folder / "frames").exists() and (folder / "frames").read_text() == str(frames):
        return camera
    with tarfile.open(camera, "w") as tar:
        _add(tar, "mono_left.timestamps", "".join(f"{t} 1\n" for t in times).encode())
        for number, t in enumerate(times):
            _add(tar, f"mono_left/{t}.png", frame(number))
    log = ["timestamp,ins_status,northing,easting,yaw"]
    for t in range(START - 100_000, times[-1] + 100_000, 20_000):
        log.append(f"{t},INS_SOLUTION_GOOD,{5_735_000 + (t - START) * 1e-5},620000,0")
    with tarfile.open(folder / f"{TRAVERSAL}_gps.tar", "w") as tar:
        _add(tar, "gps/ins.csv", "\n".join(log).encode())
    (folder / "frames").write_text(str(frames))
    return camera


def _add(tar: tarfile.TarFile, path: str, data: bytes) -> None:
    info = tarfile.TarInfo(f"{TRAVERSAL}/{path}")
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def plain_loop(camera: pathlib.Path) -> None:
    """Reads and encodes the tar's images one after another."""
    with tarfile.open(camera) as tar:
        for member in tar:
            if not member.name.endswith(".png"):
                continue
            raw = np.frombuffer(tar.extractfile(member).read(), np.uint8)
            image = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
            image = cv2.cvtColor(image, cv2.COLOR_BayerBG2BGR)
            image = cv2.resize(image, (STORED, STORED), interpolation=cv2.INTER_AREA)
            cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def build(raw: pathlib.Path, out: pathlib.Path) -> float:
    """Runs the whole build in a new process; returns its peak memory in MiB."""
    shutil.rmtree(out, ignore_errors=True)
    config = {"name": "benchmark", "height": STORED, "width": STORED, "quality": QUALITY}
    config["traversals"] = {"train": TRAVERSAL}
    args = [sys.executable, "-m", "tfds_builders", "build", "robotcar", f"--manual_dir={raw}"]
    args += [f"--data_dir={out}", f"--config={json.dumps(config)}"]
    # ru_maxrss would begin with the peak of the parent process.
    peak = 0
    with subprocess.Popen(args, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        status = pathlib.Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            found = status.read_text().partition("VmHWM:")[2].split()
            peak = max(peak, int(found[0]) if found else 0)  # an ended process has none
            time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"the build failed with status {process.returncode}")
    return peak / 1024


def measure(args, interleaved: Callable, row: Callable) -> list[dict]:
    """One row: seconds of all frames, extrapolated to the paper's dataset."""
    raw, out = args.work.resolve() / "raw", args.work.resolve() / "out"
    camera, peaks = write_raw(raw, args.frames), []
    contestants = {
        "loop": lambda: plain_loop(camera),
        "build": lambda: peaks.append(build(raw, out)),
    }
    seconds = interleaved(contestants, args.rounds)
    rate = args.frames / statistics.median(seconds["build"])
    files = [path for path in out.rglob("*") if path.is_file()]
    stored = sum(path.stat().st_size for path in files) / args.frames
    more = {
        "frames": args.frames,
        "images_s": round(rate, 1),
        "raw_mb_a_frame": round(camera.stat().st_size / args.frames / 1e6, 3),
        "stored_kb_a_frame": round(stored / 1e3, 2),
        "peak_mib": round(max(peaks), 1),
        "paper_minutes": round(PAPER_FRAMES / rate / 60, 1),
        "paper_gb": round(stored * PAPER_FRAMES / 1e9, 2),
    }
    name = f"robotcar-build-{STORED}"
    return [row(name, "OpenCV loop", seconds["build"], seconds["loop"], 0.0, **more)]
