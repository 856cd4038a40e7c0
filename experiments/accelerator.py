"""Measures all four models on a GPU and runs the test suite there, in ten minutes.

    python experiments/accelerator.py --out=runs/gpu
    python experiments/accelerator.py --out=runs/dry --dry

It runs `benchmark.py train_step`, `extract` and `retrieval` in float32 (TF32) and bfloat16, beside PyTorch
eager, channels_last and torch.compile, then the tests. Each command gets an equal share of the time left,
and what it leaves goes to the next ones. A command that runs out of time ends. Its rows so far stay in OUT,
a file each, for `experiments/records.py --add`. `--dry` tries the same commands with tiny images, as on a
CPU. The exit status is 1 where a command failed, and 0 where time alone ran out.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import time

from grid import child

ROOT = pathlib.Path(__file__).resolve().parents[1]
DTYPES = "float32", "bfloat16"
FULL = "--batch=48", "--size=224"
TINY = "--batch=8", "--size=128", "--no-compile"  # smaller maps make NetVLAD lose digits
TESTS = 0.3  # of the time is kept for the tests


def commands(out: pathlib.Path, dry: bool, real: pathlib.Path | None) -> dict[str, list[str]]:
    """The benchmarks' command lines by name, the ones that matter most first."""
    sizes, rounds = (TINY, 1) if dry else (FULL, 3)
    asked = {
        f"{command}-{dtype}": [command, f"--dtype={dtype}", *sizes, *only]
        for command, only in (("train_step", ["--only=triplet"]), ("extract", []))
        for dtype in DTYPES
    }
    asked["retrieval"] = ["retrieval", *([f"--real={real}"] if real else [])]
    if dry:  # the least of its noise
        asked["retrieval"] += ["--only=noise-32768-k1"]
    script = str(ROOT / "experiments/benchmark.py")
    return {
        name: [sys.executable, script, f"--json={out / name}.json", f"--rounds={rounds}", *words]
        for name, words in asked.items()
    }


def suite(dry: bool) -> list[str]:
    """The command line of the tests; of one file with `dry`."""
    chosen = ["tests/unit/test_optim.py", "-n", "0"] if dry else ["tests"]
    return [sys.executable, "-m", "pytest", "-q", *chosen]


def run(name: str, command: list[str], seconds: float, log: pathlib.Path) -> str:
    """Runs a command, its output in `log`: "done", "out of time" or "failed (status)"."""
    start = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=child.die_with_parent,
        )
        try:
            status = process.wait(timeout=max(0.0, seconds))
            how = "done" if status == 0 else f"failed (status {status})"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the compilers and workers it started
            process.wait()
            how = "out of time"
    print(f"{name}: {how} after {time.monotonic() - start:.0f} s, {log}", flush=True)
    return how


def run_all(
    wanted: dict[str, list[str]], tests: list[str], out: pathlib.Path, seconds: float
) -> list[str]:
    """Runs the benchmarks in their shares of the time, then the tests; returns how each ended."""
    end = time.monotonic() + seconds
    benchmarks_end = end - TESTS * seconds
    found = []
    for number, (name, command) in enumerate(wanted.items()):
        share = (benchmarks_end - time.monotonic()) / (len(wanted) - number)
        found.append(run(name, command, share, out / f"{name}.log"))
    return [*found, run("tests", tests, end - time.monotonic(), out / "tests.log")]


def main() -> int:
    """Runs everything; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for rows and logs")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all of it (10)")
    parser.add_argument("--real", type=pathlib.Path, help="folder of the real descriptors' images")
    parser.add_argument("--dry", action="store_true", help="tiny images, one file of tests")
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    real = args.real.resolve() if args.real else None
    wanted = commands(out, args.dry, real)
    ended = run_all(wanted, suite(args.dry), out, 60 * args.minutes)
    return int(any(how.startswith("failed") for how in ended))


if __name__ == "__main__":
    sys.exit(main())
