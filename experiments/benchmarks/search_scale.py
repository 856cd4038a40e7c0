"""Memory and time of a search over descriptors on disk at three sizes, against the cost model.

    python experiments/benchmark.py --json=FILE search_scale --work=runs/search_scale

Writes references of full NetVLAD size: VGG16's 36,660 x 32,768 float32, 4.8 GB of noise rows at several
lengths. It searches a quarter, half and all of them under a budget of 2 GiB. Each search has its own
process, whose peak resident memory it reads. The cost model is that of vprjax/retrieval/README.md, with
this machine's product speed and reading speed from the same run. `--beside=CHECKOUT` searches all
references with another version of this project in turn; the median of `--rounds` searches counts:

    git worktree add CHECKOUT COMMIT
    python experiments/benchmark.py --json=FILE search_scale --work=runs/search_scale --beside=CHECKOUT
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
REFERENCES, DIMENSION = 36_660, 32_768  # Table I's reference traversal; VGG16 + NetVLAD, K = 64
QUERIES = 32_625  # Table I's test01, the target of extrapolated times
NOISE = 2048  # distinct rows
BUDGET = 2 << 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for 4.8 GB")
    parser.add_argument("--queries", type=int, default=4096)
    parser.add_argument(
        "--beside", type=pathlib.Path, help="checkout of the version to search with too"
    )
    parser.add_argument(
        "--search", type=int, help=argparse.SUPPRESS
    )  # references of one search in this process


def write_rows(path: pathlib.Path, rows: int, seed: int) -> None:
    """Writes noise rows, repeated at other lengths so that no two are equal."""
    if path.exists() and path.stat().st_size == rows * DIMENSION * 4:
        return
    noise = np.random.default_rng(seed).standard_normal((NOISE, DIMENSION), dtype=np.float32)
    noise /= np.sqrt(DIMENSION)
    with path.open("wb") as file:
        for first in range(0, rows, NOISE):
            file.write((noise[: rows - first] * np.float32(1 + first / 1e6)).tobytes())


def mapped(path: pathlib.Path, rows: int) -> np.memmap:
    """The first `rows` rows of a file, memory-mapped."""
    return np.memmap(path, np.float32, "r", shape=(rows, DIMENSION))


def search(args) -> dict:
    """Seconds and peak resident memory (GiB) of one search in this process."""
    from vprjax import retrieval
    from vprjax.runtime import memory

    queries = mapped(args.work / "queries", args.queries)
    references = mapped(args.work / "references", args.search)
    start = time.perf_counter()
    found = retrieval.search(queries, references, 1, memory_bytes=BUDGET)
    seconds = time.perf_counter() - start
    peak = memory.measured_peak() / 2**30
    return {"seconds": seconds, "peak_gib": peak, "blocks": str(found.plan), "scan": found.scan}


def rates(path: pathlib.Path) -> tuple[float, float]:
    """FLOP/s of a float32 matrix product and bytes/s of reading rows, measured now."""
    import jax

    from vprjax.retrieval.product import dot

    rows = np.array(mapped(path, 2048))
    product = jax.jit(dot)
    placed = jax.device_put(rows[:1024]), jax.device_put(rows)
    product(*placed).block_until_ready()
    start = time.perf_counter()
    product(*placed).block_until_ready()
    flops = 2 * 1024 * 2048 * DIMENSION / (time.perf_counter() - start)
    start = time.perf_counter()
    for first in range(0, REFERENCES - 2048, 2048):
        np.array(mapped(path, REFERENCES)[first : first + 2048])
    reading = (REFERENCES // 2048) * 2048 * DIMENSION * 4 / (time.perf_counter() - start)
    return flops, reading


def cost(queries, references, dimension, flops, reading, devices=1, query_rows=8192) -> dict:
    """Bytes and seconds of a search by the cost model.

    `seconds = 2 q r d / (flops devices) + ceil(q / query_rows) 4 r d / (reading devices)`: every block of
    queries passes once over all references, which the devices share.
    """
    passes = -(-queries // query_rows)
    stored = 4.0 * references * dimension
    products = 2.0 * queries * references * dimension / (flops * devices)
    return {
        "stored_gb": stored / 1e9,
        "gb_a_device": stored / devices / 1e9,
        "tflop": 2e-12 * queries * references * dimension,
        "seconds": products + passes * stored / (reading * devices),
    }


def searched(checkout: pathlib.Path, args, references: int) -> dict:
    """What `search` finds in a process of its own with the code of a checkout."""
    words = [f"--work={args.work.resolve()}", f"--queries={args.queries}", f"--search={references}"]
    command = [sys.executable, str(checkout / "experiments/benchmark.py"), "search_scale", *words]
    own = {**os.environ, "PYTHONPATH": str(checkout)}  # before an installed vprjax
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=checkout, env=own
    )
    return json.loads(done.stdout.splitlines()[-1])


def beside(args) -> dict:
    """The row of all references, searched by this version and by another in turn."""
    git = ["git", "-C", str(args.beside), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    turns = [
        {tree: searched(tree, args, REFERENCES) for tree in (ROOT, args.beside.resolve())}
        for _ in range(args.rounds)
    ]
    own, other = ([turn[tree] for turn in turns] for tree in turns[0])
    times = [[found["seconds"] for found in each] for each in (own, other)]
    seconds, rival = map(statistics.median, times)
    return {
        "name": f"{REFERENCES:,} references beside an earlier version",
        "vprjax_s": round(seconds, 1),
        "spread": [round(f(times[0]), 1) for f in (min, max)],
        "rival": f"vprjax {commit}",
        "rival_s": round(rival, 1),
        "rival_spread": [round(f(times[1]), 1) for f in (min, max)],
        "ratio": round(rival / seconds, 2),
        "queries": args.queries,
        "dimensions": DIMENSION,
        "peak_gib": round(max(found["peak_gib"] for found in own), 2),
        "rival_peak_gib": round(max(found["peak_gib"] for found in other), 2),
        "budget_gib": BUDGET / 2**30,
        "scan": own[0]["scan"],
    }


def measure(args, interleaved, row) -> list[dict]:
    """The table's rows: three sizes, measured and modelled."""
    if args.search:
        print(json.dumps(search(args)))
        raise SystemExit
    args.work.mkdir(parents=True, exist_ok=True)
    write_rows(args.work / "references", REFERENCES, 0)
    write_rows(args.work / "queries", args.queries, 1)
    if args.beside:
        return [beside(args)]
    rows = []
    for references in (REFERENCES // 4, REFERENCES // 2, REFERENCES):
        flops, reading = rates(args.work / "references")
        found = searched(ROOT, args, references)
        block = int(found["blocks"].split()[2].replace(",", ""))
        model = cost(args.queries, references, DIMENSION, flops, reading, query_rows=block)
        rows.append(
            {
                "references": references,
                "queries": args.queries,
                "dimensions": DIMENSION,
                "stored_gb": round(model["stored_gb"], 2),
                "seconds": round(found["seconds"], 1),
                "model_s": round(model["seconds"], 1),
                "peak_gib": round(found["peak_gib"], 2),
                "budget_gib": BUDGET / 2**30,
                "all_queries_minutes": round(found["seconds"] * QUERIES / args.queries / 60, 1),
                "scan": found["scan"],
                "gflops": round(flops / 1e9),
                "read_gb_s": round(reading / 1e9, 2),
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows
