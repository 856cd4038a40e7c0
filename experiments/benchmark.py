"""Measures vprjax and its rivals in turn in one run: `python experiments/benchmark.py retrieval`.

A sub-command first checks that the answers agree. It then times both in turn and prints their medians.
`--json=FILE` also writes one JSON row per line of the table as soon as it is measured.
`experiments/records.py --add FILE` adds the rows to the record. Times mean little on another machine; the
ratio, the rival's time by ours, counts.
"""

import argparse
import json
import os
import pathlib
import shlex
import statistics
import sys
import time
from collections.abc import Callable

import jax
from benchmarks import (
    build,
    extract,
    field,
    latency,
    listings,
    pipeline,
    profile,
    retrieval,
    search_scale,
    startup,
    train_step,
)

from vprjax.report.provenance import code_version
from vprjax.runtime import huge_pages
from vprjax.runtime.machine import cpu
from vprjax.storage.atomic import write_atomically

PACKAGES = "jax", "torch", "faiss"  # the record names their versions

COMMANDS = {
    "train_step": train_step,
    "extract": extract,
    "field": field,
    "latency": latency,
    "input": pipeline,
    "build": build,
    "listings": listings,
    "startup": startup,
    "profile": profile,
    "retrieval": retrieval,
    "search_scale": search_scale,
}


def interleaved(
    contestants: dict[str, Callable], rounds: int, settle: bool = False
) -> dict[str, list[float]]:
    """Seconds of every round of each contestant, one after the other within a round.

    With `settle` each contestant runs untimed ahead of its timed run. A virtual machine fetches memory from
    its host again once the contestant before has released it. VGG16's first step after PyTorch's spent
    2.9 s in the kernel, every later one 0.7 s.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            if settle:
                run()
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def row(
    name: str, rival: str, ours: list[float], theirs: list[float], flops: float, **more
) -> dict:
    """One line of the table.

    `flops` are brute force's, so that pruning shows as more than is possible; 0 leaves them out.
    """
    v, r = statistics.median(ours), statistics.median(theirs)
    return {
        "name": name,
        "rival": rival,
        "vprjax_s": round(v, 4),
        "rival_s": round(r, 4),
        "ratio": round(r / v, 2),
        "spread": [round(min(ours), 4), round(max(ours), 4)],
        "rival_spread": [round(min(theirs), 4), round(max(theirs), 4)],
        **({"gflops": round(flops / v / 1e9, 1)} if flops else {}),
        **more,
    }


def markdown(rows: list[dict]) -> str:
    """The rows as a Markdown table; a cell stays empty where a row lacks the column."""
    names = list(dict.fromkeys(key for r in rows for key in r if "spread" not in key))
    lines = ["| " + " | ".join(names) + " |", "| --- " * len(names) + "|"]
    lines += ["| " + " | ".join(str(r.get(name, "")) for name in names) + " |" for r in rows]
    return "\n".join(lines)


def machine() -> str:
    """The accelerator, if any, and the processor."""
    own = [d.device_kind for d in jax.devices() if d.platform != "cpu"]
    return f"{len(own)} x {own[0]} beside {cpu()}" if own else cpu()


def command_line() -> argparse.ArgumentParser:
    """The parser, which takes the shared flags before and after the sub-command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    _add_shared(parser, json=None, rounds=5)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, help=module.__doc__.splitlines()[0])
        # With its own default a sub-command would overwrite the flag before its name.
        _add_shared(command, json=argparse.SUPPRESS, rounds=argparse.SUPPRESS)
        module.add_arguments(command)
    return parser


def _add_shared(parser: argparse.ArgumentParser, json, rounds) -> None:
    parser.add_argument("--json", type=pathlib.Path, default=json, help="file for the rows")
    parser.add_argument(
        "--rounds", type=int, default=rounds, help="timed rounds (5); the median counts"
    )


def main() -> None:
    """Runs one sub-command."""
    parser = command_line()
    args = parser.parse_args()
    # The rival needs GPU memory, too.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    code, rows = code_version(), []  # of the loaded code, since the checkout may change meanwhile
    for found in COMMANDS[args.command].measure(args, interleaved, row):
        print(found, file=sys.stderr, flush=True)
        rows.append(found)
        if args.json:
            write(args.json, code, rows)
    if not rows:
        parser.error("nothing was measured: --only is in no row's name (nordland's need --real)")
    print(markdown(rows))
    print(f"\n{machine()}")


def write(record: pathlib.Path, code: str, rows: list[dict]) -> None:
    """Writes the rows measured so far, which a cut run thus keeps."""
    record.parent.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", *sys.argv])
    document = {
        "command": command,
        "machine": machine(),
        "code_version": code,
        "packages": {
            name: sys.modules[name].__version__ for name in PACKAGES if name in sys.modules
        },
        "rows": rows,
    }
    write_atomically(record, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    huge_pages.restart()  # as python -m vprjax.main does; the rival gets them, too
    main()
