"""The server under load: concurrent requests from this machine, latency, and the server's memory.

A generator on loopback keeps `--concurrent` requests under way until `--requests` are answered. The server
describes every picture with the model. Both share the machine's cores.
"""

import argparse
import asyncio
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

import vprjax
from vprjax.errors import ConfigError

TITLE = "The server under load, from 127.0.0.1"
COLUMNS = {
    "map, images": lambda f: f["images"],
    "requests at a time": lambda f: f["concurrent"],
    "answered": lambda f: f"{f['answered']} of {f['requests']}",
    "lost": lambda f: f["requests"] - f["answered"],
    "per second": lambda f: f"{f['answered'] / f['seconds']:.1f}",
    "latency, ms: 50 / 90 / 99 % / most": lambda f: " / ".join(
        f"{1000 * value:.0f}" for value in f["latency"]
    ),
    "one at a time, ms: 50 / 90 / 99 % / most": lambda f: " / ".join(
        f"{1000 * value:.0f}" for value in f["alone"]
    ),
    "server's memory, MB: first / last quarter": lambda f: (
        f"{f['memory'][0] / 1e6:.0f} / {f['memory'][1] / 1e6:.0f}"
    ),
}
ENDINGS = {".jpg", ".jpeg", ".png"}
LONGEST = 600  # seconds that all requests may take
ALONE = 50  # requests one after the other, first


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    add = parser.add_argument
    add("--model", required=True, help="what vprjax.load takes")
    add(
        "--images",
        type=pathlib.Path,
        required=True,
        help="folder of the map's and the asked pictures",
    )
    add("--size", type=int, default=0, help="height and width in place of the model's own")
    add("--requests", type=int, default=2000, help="in all (2000)")
    add("--concurrent", type=int, default=200, help="at a time (200)")


def measure(args) -> tuple[str, dict]:
    """The row's name and its facts."""
    model = vprjax.load(args.model, (args.size, args.size) if args.size else None)
    shown = sorted(path for path in args.images.rglob("*") if path.suffix.lower() in ENDINGS)
    if not shown:
        raise ConfigError(f"--images={args.images} holds no pictures")
    bodies = [path.read_bytes() for path in shown[:200]]
    with tempfile.TemporaryDirectory() as folder:
        at = pathlib.Path(folder) / "map"
        images = len(vprjax.Map.build(model, args.images, at))
        command = [sys.executable, "-m", "vprjax.localize", "serve", f"--map={at}", "--port=0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            try:
                line = next(line for line in server.stderr if "answers; Ctrl+C" in line)
                port = int(line.split()[0].rpartition(":")[2])
                found = asyncio.run(load(port, server.pid, bodies, args.requests, args.concurrent))
            finally:
                server.terminate()
    facts = {"images": images, "requests": args.requests, "concurrent": args.concurrent, **found}
    return model.title + f", {model.size[0]}x{model.size[1]}", facts


async def load(port: int, pid: int, bodies: list[bytes], requests: int, concurrent: int) -> dict:
    """Asks one at a time, then many; what came back, and when."""
    waiting = iter(range(requests))
    seconds: list[float] = []
    memory: list[int] = []

    async def one(number: int) -> float:
        start = time.perf_counter()
        status = await ask(port, bodies[number % len(bodies)])
        return time.perf_counter() - start if status == 200 else float("nan")

    async def worker() -> None:
        for number in waiting:
            seconds.append(await one(number))
            memory.append(resident(pid))

    alone = [await one(number) for number in range(ALONE)]
    start = time.perf_counter()
    async with asyncio.timeout(LONGEST):
        await asyncio.gather(*(worker() for _ in range(concurrent)))
    whole, quarter = time.perf_counter() - start, max(1, len(memory) // 4)
    answered = [value for value in seconds if value == value]
    return {
        "answered": len(answered),
        "seconds": whole,
        "latency": _percentiles(answered),
        "alone": _percentiles(alone),
        "memory": [max(memory[:quarter]), max(memory[-quarter:])],
    }


def _percentiles(seconds: list[float]) -> list[float]:
    return np.percentile(seconds, [50, 90, 99, 100]).round(4).tolist()


async def ask(port: int, body: bytes) -> int:
    """Posts a picture; the status of a whole answer, 0 where the connection breaks."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /query?k=5 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        await writer.drain()
        answer = await reader.read()
        writer.close()
    except OSError:
        return 0
    head, _, text = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head else 0
    return status if status != 200 or len(json.loads(text)["image_ids"]) else 0


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) << 10
