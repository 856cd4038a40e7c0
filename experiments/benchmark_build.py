"""Throughput of a RobotCar build against a plain OpenCV loop on the same frames, in the same run.

    python experiments/benchmark_build.py --frames=4000 --work=runs/benchmark_build

Writes `--frames` synthetic 1024x1024 Bayer PNGs with timestamps and poses into a tar (kept for the next
run), then times (1) a plain loop over the tar's members: decode, demosaic, resize, encode, and (2)
`python -m tfds_builders build robotcar` as its own process, whose peak memory it reads. Prints one JSON
object; `--record=FILE` writes it too. The scene is smooth with sensor noise, so that a PNG has about the
size of a real one (`raw_mb_a_frame`).
"""

import argparse
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import time

import cv2
import numpy as np

TRAVERSAL = "2019-01-10-11-46-21-radar-oxford-10k"
PAPER_FRAMES = 135_642  # Table I, four traversals
SIZE, STORED, QUALITY = 1024, 256, 92
START, STEP = 1_547_120_789_000_000, 59_000  # microseconds


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
    """The traversal's camera and gps tars; returns the camera's."""
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


def plain_loop(camera: pathlib.Path) -> tuple[float, int]:
    """Seconds and frames of the loop anyone would write."""
    start, count = time.perf_counter(), 0
    with tarfile.open(camera) as tar:
        for member in tar:
            if not member.name.endswith(".png"):
                continue
            raw = np.frombuffer(tar.extractfile(member).read(), np.uint8)
            image = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
            image = cv2.cvtColor(image, cv2.COLOR_BayerBG2BGR)
            image = cv2.resize(image, (STORED, STORED), interpolation=cv2.INTER_AREA)
            cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            count += 1
    return time.perf_counter() - start, count


def build(raw: pathlib.Path, out: pathlib.Path) -> tuple[float, float]:
    """Seconds and peak MiB of the whole build, process start included."""
    shutil.rmtree(out, ignore_errors=True)
    config = {"name": "benchmark", "height": STORED, "width": STORED, "quality": QUALITY}
    config["traversals"] = {"train": TRAVERSAL}
    args = [sys.executable, "-m", "tfds_builders", "build", "robotcar", f"--manual_dir={raw}"]
    args += [f"--data_dir={out}", f"--config={json.dumps(config)}"]
    start = time.perf_counter()
    process = subprocess.Popen(args, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the build failed with status {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def measure(frames: int, work: pathlib.Path) -> dict:
    """Both timings, the loop before and after the build so that a drifting machine shows."""
    camera = write_raw(work / "raw", frames)
    before, count = plain_loop(camera)
    seconds, peak = build(work / "raw", work / "out")
    after, _ = plain_loop(camera)
    loop = (before + after) / 2
    stored = sum(path.stat().st_size for path in (work / "out").rglob("*") if path.is_file())
    return {
        "frames": count,
        "raw_mb_a_frame": round(camera.stat().st_size / count / 1e6, 3),
        "plain_loop_images_per_second": [round(count / before, 1), round(count / after, 1)],
        "build_images_per_second": round(count / seconds, 1),
        "ratio": round(loop / seconds, 2),
        "build_peak_mib": round(peak, 1),
        "stored_kb_a_frame": round(stored / count / 1e3, 2),
        "paper_frames": PAPER_FRAMES,
        "paper_minutes": round(PAPER_FRAMES / (count / seconds) / 60, 1),
        "paper_gb": round(stored / count * PAPER_FRAMES / 1e9, 2),
        "cores": len(os.sched_getaffinity(0)),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument(
        "--work", type=pathlib.Path, required=True, help="folder for raw and built data"
    )
    parser.add_argument("--record", type=pathlib.Path, help="JSON file to write")
    args = parser.parse_args()
    result = json.dumps(measure(args.frames, args.work), indent=2)
    print(result)
    if args.record:
        args.record.parent.mkdir(parents=True, exist_ok=True)
        args.record.write_text(result + "\n")


if __name__ == "__main__":
    main()
