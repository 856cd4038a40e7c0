"""The server as a process: 200 requests at once, its memory, and its end."""

import concurrent.futures
import contextlib
import http.client
import io
import json
import pathlib
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import PIL.Image
import pytest

from tests.helpers import small_map
from tests.helpers.commands import ROOT

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

CLIENTS = 200
PROGRAM = """
import pathlib
from tests.helpers import small_map
from vprjax.localize import serve

places = small_map.build(pathlib.Path("{folder}"), small_map.model(seconds={seconds}))
with serve.listen("127.0.0.1", 0) as listener:
    serve.serve(places, listener)
"""


@contextlib.contextmanager
def server(folder, seconds):
    """A context with the process and its port."""
    (folder / "home").mkdir()
    program = PROGRAM.format(seconds=seconds, folder=folder / "map")
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(folder / "home"), "HOME": str(folder / "home")},
    ) as process:
        try:
            at = next(line for line in process.stderr if "answers; Ctrl+C" in line).split()[0]
            yield process, int(at.rpartition(":")[2])
        finally:
            process.kill()


def resident(process):
    """MiB of the process in memory."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def photo(view, seed):
    """A view as a JPEG of 640x480 pixels with some noise."""
    image = np.asarray(PIL.Image.fromarray(view).resize((640, 480)))
    noise = np.random.default_rng(seed).integers(-9, 10, image.shape)
    out = io.BytesIO()
    PIL.Image.fromarray((image + noise).clip(0, 255).astype(np.uint8)).save(out, "JPEG")
    return out.getvalue()


PHOTOS = [photo(view, seed) for seed, view in enumerate(small_map.views())]


def query(port, number):
    """The answer's first number and the seconds that it took."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    began = time.monotonic()
    connection.request("POST", "/query", PHOTOS[number])
    response = connection.getresponse()
    found = json.loads(response.read())
    connection.close()
    assert response.status == 200, found
    return found["numbers"][0], time.monotonic() - began


def waiting(port):
    """How many requests the server has taken and not yet answered."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60) as response:
        return json.load(response)["waiting"]


def burst(port):
    """Latencies of `CLIENTS` requests that start together; every answer must be right."""
    together = threading.Barrier(CLIENTS)

    def one(i):
        together.wait()
        return query(port, i % len(PHOTOS))

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        found = list(pool.map(one, range(CLIENTS)))
    assert [number for number, _ in found] == [i % len(PHOTOS) for i in range(CLIENTS)]
    return [seconds for _, seconds in found]


def test_200_requests_at_once_lose_none_and_leave_memory_flat(tmp_path):
    with server(tmp_path, seconds=0.01) as (process, port):
        burst(port)
        before = resident(process)
        latencies = [second for _ in range(4) for second in burst(port)]
        after = resident(process)
        p50, p95, p99 = 1000 * np.percentile(latencies, [50, 95, 99])
        print(f"{len(latencies)} requests, {CLIENTS} at once: p50 {p50:.0f} ms, p95 {p95:.0f} ms,")
        print(f"p99 {p99:.0f} ms; resident {before:.0f} MiB before, {after:.0f} MiB after")
        assert after - before < 32
        assert not list((tmp_path / "home").iterdir())  # nothing was written
        process.send_signal(signal.SIGTERM)
        assert json.loads(process.stderr.read()) == {"answered": 5 * CLIENTS, "refused": 0}
        assert process.wait(30) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_once_what_is_in_flight_is_answered(tmp_path, number):
    with server(tmp_path, seconds=3.0) as (process, port):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(query, port, i) for i in range(4)]
            while waiting(port) < 4 and not any(answer.done() for answer in answers):
                time.sleep(0.02)
            process.send_signal(number)
            assert [answer.result()[0] for answer in answers] == [0, 1, 2, 3]
        assert json.loads(process.stderr.read()) == {"answered": 4, "refused": 0}
        assert process.wait(30) == 0
