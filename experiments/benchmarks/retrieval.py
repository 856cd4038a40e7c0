"""Exact search against faiss.IndexFlatL2, on noise at full size and on descriptors of real images.

    python experiments/benchmark.py --json=FILE retrieval --real=../shared/real

Noise has no structure for bounds to use, and so times brute force. The real descriptors are of all Nordland
frames, winter against summer (MobileNetV2 with ImageNet weights, GeM and NetVLAD). Both times cover a whole
search: ours learns its directions within it, and faiss fills its index beforehand. On a GPU brute force in
PyTorch joins in, with descriptors from the host like ours; faiss stays on the CPU. It multiplies with the
fastest kernel that its OpenBLAS has for this processor (`kernels`); rows name it beside its own choice.
"""

import argparse
import functools
import itertools
import pathlib
import statistics
from collections.abc import Iterator

import jax
import numpy as np

from benchmarks import kernels
from vprjax import models
from vprjax.runtime import parallel

NOISE = {  # name: queries, references, dimensions, k
    "noise-2048-k1": (20_000, 10_000, 2048, 1),
    "noise-2048-k20": (20_000, 10_000, 2048, 20),
    "noise-32768-k1": (2_048, 4_096, 32_768, 1),
}
SINGLE = "single-2048-k5"  # queries one at a time, as a robot asks
SINGLE_SIZE, SINGLE_QUERIES, SINGLE_K, NOISY = (100_000, 2048), 200, 5, 0.02
TORCH_BLOCK = 4096  # queries per block of distances on a GPU
SIZE = (128, 64)  # width, height of the frames
WEIGHTS = "weights/mobilenetv2_1.00_224_imagenet_notop.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    parser.add_argument("--real", type=pathlib.Path, help="folder of the real images and weights")
    parser.add_argument("--cache", type=pathlib.Path, help="folder to keep real descriptors in")
    parser.add_argument("--only", default="", help="only cases whose name holds this")


def unit_noise(seed: int, rows: int, d: int) -> np.ndarray:
    """Random unit vectors `(rows, d)` float32."""
    x = np.random.default_rng(seed).standard_normal((rows, d), dtype=np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x


def real_descriptors(real: pathlib.Path, pooling: str, cache: pathlib.Path | None):
    """Descriptors of all winter and all summer frames, `(3576, d)` each."""
    import cv2

    from configs import base
    from vprjax.weights import initialise, pretrained

    kept = cache / f"{pooling}.npz" if cache else None
    if kept and kept.exists():
        found = np.load(kept)
        return found["winter"], found["summer"]

    def frames(season: str) -> np.ndarray:
        files = sorted((real / "nordland" / season).glob("images-*.png"))
        images = (cv2.imread(str(file), cv2.IMREAD_COLOR_RGB) for file in files)
        return np.stack([cv2.resize(image, SIZE) for image in images])

    config = base.get_config()
    config.model.pooling, config.model.stage = pooling, base.STRIDE_16["mobilenetv2"]
    weights = pretrained.load(str(real / WEIGHTS), "mobilenetv2")
    images = {season: frames(season) for season in ("winter", "summer")}
    summer = images["summer"]
    variables, _ = initialise.initialise(config.model, weights, 0, summer.__getitem__, len(summer))
    describe = jax.jit(models.build_for_platform(config.model, parallel.AXIS).apply)
    out = {}
    for season, stack in images.items():
        batches = [
            np.resize(stack[i : i + 64], (64, *stack.shape[1:])) for i in range(0, len(stack), 64)
        ]
        rows = np.concatenate([np.asarray(describe(variables, batch)) for batch in batches])
        out[season] = rows[: len(stack)]
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, **out)
    return out["winter"], out["summer"]


def cases(args) -> Iterator[tuple]:
    """Yields `(name, maker of queries and references, k)`."""
    for name, (q, r, d, k) in NOISE.items():
        if args.only in name:
            yield name, lambda q=q, r=r, d=d: (unit_noise(0, q, d), unit_noise(1, r, d)), k
    for pooling in ("gem", "netvlad") if args.real else ():
        for k in (1, 20):
            name = f"nordland-{pooling}-k{k}"
            if args.only in name:
                yield name, functools.partial(real_descriptors, args.real, pooling, args.cache), k


def disagreement(found, expected, queries, references) -> int:
    """The number of queries with nearer neighbours by faiss, in float64; a tie is no error."""
    wrong = 0
    for row in np.flatnonzero((found.indices != expected).any(axis=1)):
        ours, theirs = (
            np.sort(np.linalg.norm(references[i].astype(np.float64) - queries[row], axis=1))
            for i in (found.indices[row], expected[row])
        )
        wrong += bool((ours > theirs * (1 + 1e-12)).any())
    return wrong


def by_torch(queries, references, k: int) -> np.ndarray:
    """Brute force in float32 on the GPU, one block of queries after another; indices `(q, k)`."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False  # TF32 would find other neighbours
    others = torch.from_numpy(references).cuda()
    squared, found = (others**2).sum(1), []
    for first in range(0, len(queries), TORCH_BLOCK):
        own = torch.from_numpy(queries[first : first + TORCH_BLOCK]).cuda()
        found.append(torch.addmm(squared, own, others.T, alpha=-2).topk(k, largest=False).indices)
    return torch.cat(found).cpu().numpy()


def measure(args, interleaved, row) -> Iterator[dict]:
    """Yields the table's rows."""
    chosen, single = [*cases(args)], args.only in SINGLE and jax.default_backend() == "cpu"
    kernel = kernels.restart() if chosen or single else {}
    for name, make, k in chosen:
        for found in measure_case(name, *make(), k, args.rounds, interleaved, row):
            yield found | kernel
    if single:
        yield measure_single(interleaved, row) | kernel


def measure_single(interleaved, row) -> dict:
    """The row of queries one at a time, in turn near a reference and far from all, over unit noise."""
    import faiss

    from vprjax.retrieval.few import Few

    references = unit_noise(1, *SINGLE_SIZE)
    queries = unit_noise(0, SINGLE_QUERIES, SINGLE_SIZE[1])
    queries[::2] = references[:: len(references) // (SINGLE_QUERIES // 2)] + NOISY * queries[::2]
    index, few = faiss.IndexFlatL2(SINGLE_SIZE[1]), Few([references])
    index.add(references)
    turns = [itertools.cycle(range(len(queries))) for _ in range(2)]
    for one in range(0, SINGLE_QUERIES, 10):  # the first makes the codes
        found = few(queries[one : one + 1], SINGLE_K)[1]
        if (found != index.search(queries[one : one + 1], SINGLE_K)[1]).any():
            raise SystemExit(f"{SINGLE}: faiss found other neighbours for query {one}")
    seconds = interleaved(
        {
            "few": lambda: few(queries[(at := next(turns[0])) : at + 1], SINGLE_K),
            "faiss flat": lambda: index.search(queries[(at := next(turns[1])) : at + 1], SINGLE_K),
        },
        SINGLE_QUERIES,
    )
    last = {
        name: round(float(np.quantile(times, 0.99)), 4)
        for name, times in zip(("p99_s", "rival_p99_s"), seconds.values(), strict=True)
    }
    return row(f"{SINGLE} (codes)", "faiss flat", seconds["few"], seconds["faiss flat"], 0, **last)


def measure_case(name, queries, references, k: int, rounds: int, interleaved, row) -> list[dict]:
    """Rows of one case: the scan method of the search's choice, and float32 where it differs."""
    import faiss

    from vprjax import retrieval

    index = faiss.IndexFlatL2(queries.shape[1])
    index.add(references)
    found = retrieval.search(queries, references, k)
    _, expected = index.search(queries, k)
    if bad := disagreement(found, expected, queries, references):
        raise SystemExit(f"{name}: faiss found nearer neighbours for {bad} queries")
    ways = {found.scan: "auto", "float32": "float32"}
    if jax.default_backend() != "cpu":
        ways["bfloat16"] = "bfloat16"
    contestants = {
        way: functools.partial(retrieval.search, queries, references, k, scan=scan)
        for way, scan in ways.items()
    }
    contestants["faiss flat"] = lambda: index.search(queries, k)
    if jax.default_backend() == "gpu":
        contestants["torch"] = functools.partial(by_torch, queries, references, k)
    seconds = interleaved(contestants, rounds)
    flops = 2.0 * len(queries) * len(references) * queries.shape[1]
    same = round(float((found.indices == expected).all(axis=1).mean()), 5)
    sets = np.sort(found.indices, axis=1) == np.sort(expected, axis=1)
    rival = min(contestants.keys() - ways.keys(), key=lambda name: statistics.median(seconds[name]))
    same_sets = round(float(sets.all(axis=1).mean()), 5)
    return [
        row(
            f"{name} ({way})",
            rival,
            seconds[way],
            seconds[rival],
            flops,
            same_rows=same,
            same_sets=same_sets,
        )
        | ({"evaluated": round(found.evaluated, 1)} if way == found.scan else {})
        for way in ways
    ]
