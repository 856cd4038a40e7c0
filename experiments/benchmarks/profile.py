"""Measures the time of each operation of a training step.

    python experiments/benchmark.py profile --cell=resnet50,gem,triplet --out=runs/profile

Runs the product's own step under JAX's profiler and prints the longest operations, by kind and one by one.
`--out` keeps the trace for TensorBoard or https://ui.perfetto.dev. Shares are of all operations' own time,
which exceeds the step's wall time where several threads or streams work at once.
"""

import argparse
import collections
import gzip
import json
import pathlib
import re
from collections.abc import Callable

import jax

from benchmarks import models, train_step

LANE = "XLA Ops"  # other lanes of such a device repeat this one
SLACK = 1e-3  # microseconds; a trace rounds times to a nanosecond


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    models.add_batch_arguments(parser)
    parser.add_argument("--cell", default="resnet50,gem,triplet", help="backbone,pooling,loss")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the trace")
    parser.add_argument("--top", type=int, default=15, help="rows per table")


def measure(args, interleaved: Callable, row: Callable) -> list[dict]:
    """The table's rows, of `--rounds` steps after one untraced step."""
    del row
    pair = models.alone(args.cell, args)
    step = train_step.Ours(pair, pair.config.loss.name)
    step()
    with jax.profiler.trace(args.out):
        seconds = interleaved({"step": step}, args.rounds)["step"]
    spent = own_times(newest_trace(args.out))
    total = sum(ms for ms, _ in spent.values()) / args.rounds
    print(f"{1e3 * sum(seconds) / args.rounds:.1f} ms per step, {total:.1f} ms of operations\n")
    return table(spent, args.rounds, args.top, origins(step.compiled.as_text()))


def newest_trace(folder: pathlib.Path) -> list[dict]:
    """The events of the newest trace in `folder`."""
    files = folder.rglob("*.trace.json.gz")
    newest = max(files, key=lambda file: file.stat().st_mtime)
    return json.loads(gzip.decompress(newest.read_bytes()))["traceEvents"]


def own_times(events: list[dict]) -> dict[str, tuple[float, int]]:
    """Milliseconds and calls of every operation; a loop's exclude those of its body.

    Raises:
      SystemExit: the trace holds no operation.
    """
    lanes = collections.defaultdict(list)
    for event in _operations(events):
        lanes[event["pid"], event["tid"]].append(event)
    spent, calls = collections.Counter(), collections.Counter()
    for lane in lanes.values():
        around: list[tuple[float, str]] = []  # ends and names of the enclosing operations
        for event in sorted(lane, key=lambda e: (e["ts"], -e["dur"])):
            name, start, duration = _name(event), event["ts"], event["dur"]
            while around and around[-1][0] < start + SLACK:
                around.pop()
            if around:
                spent[around[-1][1]] -= duration
            spent[name] += duration
            calls[name] += 1
            around.append((start + duration, name))
    if not spent:
        raise SystemExit("the trace holds no operation of a compiled program")
    return {name: (spent[name] / 1e3, calls[name]) for name in spent}


def _operations(events: list[dict]) -> list[dict]:
    """The events of compiled programs: in their own lanes on a TPU and often a GPU, else by mark."""
    named = [e for e in events if e.get("ph") == "M" and e.get("name") == "thread_name"]
    own = {(e["pid"], e["tid"]) for e in named if e["args"]["name"] == LANE}
    devices = {pid for pid, _ in own}
    timed = [e for e in events if e.get("ph") == "X" and "dur" in e]
    return [
        e
        for e in timed
        if ((e["pid"], e["tid"]) in own if e["pid"] in devices else "hlo_op" in e.get("args", {}))
    ]


def _name(event: dict) -> str:
    return event.get("args", {}).get("hlo_op", event["name"])


def kind(operation: str) -> str:
    """The name without numbers and suffixes: `loop_fusion.12.clone` -> `loop_fusion`."""
    return re.sub(r"(\.\d+|\.clone|\.remat\d*)+$", "", operation)


def origins(hlo: str) -> dict[str, str]:
    """The source of each operation of a compiled program, as the end of its path."""
    line = r'^\s*(?:ROOT )?%?(\S+) = .*metadata=\{.*?op_name="([^"]*)"'
    return {
        name: "/".join(path.split("/")[-3:]) for name, path in re.findall(line, hlo, re.MULTILINE)
    }


def table(
    spent: dict[str, tuple[float, int]], steps: int, top: int, origins: dict[str, str]
) -> list[dict]:
    """Rows of the `top` kinds, then of the `top` operations: ms and calls per step, share of all."""
    total = sum(ms for ms, _ in spent.values())
    kinds: dict[str, tuple[float, int]] = {}
    for name, (ms, calls) in spent.items():
        before = kinds.get(kind(name), (0.0, 0))
        kinds[kind(name)] = before[0] + ms, before[1] + calls

    def rows(column: str, found: dict[str, tuple[float, int]]) -> list[dict]:
        longest = sorted(found.items(), key=lambda item: -item[1][0])[:top]
        return [
            {
                column: name,
                "ms_a_step": round(ms / steps, 3),
                "calls_a_step": round(calls / steps, 1),
                "share": round(ms / total, 4),
            }
            for name, (ms, calls) in longest
        ]

    single = rows("operation", spent)
    return rows("kind", kinds) + [r | {"of": origins.get(r["operation"], "")} for r in single]
