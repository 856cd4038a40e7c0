"""The server over a real socket: its answers, whom it refuses, and what it keeps."""

import asyncio
import contextlib
import http.client
import io
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse

import numpy as np
import PIL.Image
import pyproj
import pytest
from benchmarks import serve_load

from tests.helpers import small_map
from vprjax.errors import ConfigError

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from vprjax.localize import batches, connections, serve, uploads

TOKEN = "not-so-secret-token"
VIEWS = small_map.views()


class Client:
    """Runs an application in a thread, and asks it."""

    def __init__(self, app):
        self.app = app
        self._socket = serve.listen("127.0.0.1", 0)
        self.port = self._socket.getsockname()[1]
        self._server = serve.server(app)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def close(self):
        self._server.should_exit = True
        self._thread.join()
        self.app.close()

    def ask(self, method, path, body=None, headers=None):
        """Status, headers and body of a response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def refusal(self, *request):
        """Status and sentence of a request that is refused, all else being unchanged."""
        status, headers, body = self.ask(*request)
        assert headers["content-type"] == "application/json"
        found = json.loads(body)
        assert list(found) == ["error"]
        return status, found["error"]


def new_app(folder, token="", positions=None, crs=None, **parts):
    return serve.App(small_map.build(folder, small_map.model(**parts), positions, crs), token)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    found = Client(new_app(tmp_path_factory.mktemp("map")))
    yield found
    found.close()


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    PIL.Image.fromarray(image).save(out, kind, **options)
    return out.getvalue()


def form(data, name="photo.png"):
    head = f'Content-Disposition: form-data; name="file"; filename="{name}"'
    body = f"--x\r\n{head}\r\n\r\n".encode() + data + b"\r\n--x--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=x"}


def bomb():
    """A PNG of 100 megapixels in 12 kB."""
    return encoded(np.zeros((10_000, 10_000), bool), optimize=True)


def test_a_photo_gets_the_nearest_places(client):
    status, headers, body = client.ask("POST", "/query?k=3", encoded(VIEWS[7]))
    found = json.loads(body)
    assert status == 200
    assert headers["cache-control"] == "no-store"
    assert found["image_ids"][0] == "drive/007.png"
    assert found["numbers"][0] == 7
    assert found["positions"][0] == pytest.approx(small_map.loop()[7], abs=1e-3)
    assert found["distances"] == sorted(found["distances"])
    assert found["confidence"] == 0.97
    assert found["located"] is True and found["rule"] == "distance" and found["queries"] == 40
    assert {len(found[name]) for name in ("image_ids", "numbers", "positions", "distances")} == {3}
    assert found["k"] == 3


def test_a_load_of_many_loses_none(client):
    bodies = [encoded(view) for view in VIEWS[:5]]
    found = asyncio.run(serve_load.load(client.port, os.getpid(), bodies, 60, 20))
    assert found["answered"] == 60 and found["latency"] == sorted(found["latency"])
    assert 0 < found["alone"][0] and min(found["memory"]) > 2**20
    bad = asyncio.run(serve_load.load(client.port, os.getpid(), [b"no picture", *bodies], 6, 3))
    assert bad["answered"] == 5
    assert asyncio.run(serve_load.ask(1, b"")) == 0  # nobody listens


def test_a_form_with_a_file_gets_the_same_answer(client):
    photo = encoded(VIEWS[9])
    assert client.ask("POST", "/query", *form(photo))[2] == client.ask("POST", "/query", photo)[2]


def test_an_unknown_place_and_an_unknown_position_say_so(tmp_path):
    places = small_map.loop(2)
    places[1] = np.nan
    client = Client(new_app(tmp_path, positions=places))
    try:
        found = json.loads(client.ask("POST", "/query?k=20", encoded(VIEWS[30]))[2])
        assert found["located"] is False
        assert found["k"] == 2
        assert found["positions"][found["numbers"].index(1)] is None
        facts = json.loads(client.ask("GET", "/map")[2])
        assert len(facts["positions"]) == 1
        assert facts["images"] == 2
    finally:
        client.close()


def test_a_map_that_knows_its_zone_answers_in_degrees_too(tmp_path):
    places = np.array([[500_000.0, 5_700_000.0], [500_100.0, 5_700_000.0], [np.nan, np.nan]])
    client = Client(new_app(tmp_path, positions=places, crs="EPSG:32631"))
    try:
        found = json.loads(client.ask("POST", "/query", encoded(VIEWS[1]))[2])
    finally:
        client.close()
    assert found["image_ids"][0] == "drive/001.png" and found["positions"][0] == [500100, 5700000]
    to = pyproj.Transformer.from_crs("EPSG:32631", "EPSG:4326")
    assert found["lat_lon"][0] == pytest.approx(to.transform(500_100, 5_700_000), abs=1e-8)
    assert 51 < found["lat_lon"][0][0] < 52  # the latitude is first
    assert found["lat_lon"][found["numbers"].index(2)] is None
    assert len(found["lat_lon"]) == found["k"] == 3


def test_a_map_without_a_zone_answers_as_ever(client):
    assert "lat_lon" not in json.loads(client.ask("POST", "/query", encoded(VIEWS[7]))[2])


def test_a_system_without_a_way_to_degrees_is_named_at_the_start(tmp_path, capsys):
    client = Client(new_app(tmp_path, crs="EPSG:1"))
    try:
        assert "no way from EPSG:1 to WGS84" in capsys.readouterr().err
        assert "lat_lon" not in json.loads(client.ask("POST", "/query", encoded(VIEWS[7]))[2])
    finally:
        client.close()


@pytest.mark.skipif(not shutil.which("node"), reason="node runs the page's own function")
def test_the_page_writes_degrees_readably(client):
    page = client.ask("GET", "/")[2].decode()
    function = re.search(r"function degrees\(.*?\n}", page, re.DOTALL)[0]
    program = f"{function}; console.log(degrees([51.5, -0.1234567]), degrees([-33.9, 18]))"
    done = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    assert done.stdout == "51.500000° N, 0.123457° W 33.900000° S, 18.000000° E\n"


def test_the_page_shows_degrees_without_a_link(client):
    page = client.ask("GET", "/")[2].decode()
    assert "state.answer.lat_lon[rank]" in page and "degrees(place)" in page
    assert '"a",' not in page and "<a " not in page


def test_a_photo_between_two_places_is_not_located(tmp_path):
    model = small_map.model()
    model.calibration |= {"measure": "ratio", "threshold": 0.5, "distances": (0.0, 0.5, 1.0)}
    model.calibration["shares"] = (1.0, 0.9, 0.1)
    client = Client(serve.App(small_map.build(tmp_path, model)))
    try:
        both = (VIEWS[3] // 2 + VIEWS[20] // 2).astype(np.uint8)
        known, between = (
            json.loads(client.ask("POST", "/query", encoded(view))[2]) for view in (VIEWS[3], both)
        )
        assert known["located"] is True and known["confidence"] > 0.99
        assert known["rule"] == "ratio"
        assert between["located"] is False and between["confidence"] < 0.3
        assert between["distances"][0] < 0.5
    finally:
        client.close()


def test_without_a_calibration_located_is_null(tmp_path):
    client = Client(new_app(tmp_path, calibrated=False))
    try:
        assert json.loads(client.ask("POST", "/query", encoded(VIEWS[3]))[2])["located"] is None
    finally:
        client.close()


REFUSED = {
    "an empty body": (b"", {}, 400, "holds no picture"),
    "an empty file": (*form(b""), 400, "holds no picture"),
    "a text": (b"I am no picture", {}, 415, "damaged, or not an image"),
    "a text named .jpg": (*form(b"I am no picture", "photo.jpg"), 415, "damaged, or not an image"),
    "a cut picture": (encoded(VIEWS[0], "JPEG")[:-200], {}, 415, "damaged"),
    "a bomb": (bomb(), {}, 413, "67,108,864 pixels"),
    "a path": (*form(encoded(VIEWS[0]), "../../etc/passwd"), 400, "holds a path"),
    "a path of Windows": (*form(encoded(VIEWS[0]), "..\\\\a.png"), 400, "holds a path"),
    "a form without a boundary": (b"a", {"Content-Type": "multipart/form-data"}, 400, "boundary"),
    "a form without a file": (
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n',
        {"Content-Type": "multipart/form-data; boundary=x"},
        400,
        "holds no picture",
    ),
    "another site's page": (b"", {"Origin": "http://example.org"}, 403, "its own machine"),
    "another site's name": (b"", {"Host": "example.org:8000"}, 403, "its own machine"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_gets_one_sentence(client, what):
    body, headers, status, words = REFUSED[what]
    found, sentence = client.refusal("POST", "/query", body, headers)
    assert (found, words in sentence) == (status, True), sentence
    assert "\n" not in sentence
    assert client.ask("POST", "/query", encoded(VIEWS[3]))[0] == 200


def test_nothing_of_a_damaged_form_is_logged(client, caplog):
    damaged = b"--y\r\n", {"Content-Type": "multipart/form-data; boundary=x"}
    assert client.refusal("POST", "/query", *damaged)[0] == 400
    assert not caplog.records


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_body_is_refused_before_it_has_come(client, chunked):
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    connection.putrequest("POST", "/query")
    if chunked:
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        part = bytes(2**20)
        for _ in range(uploads.MOST_BYTES // len(part) + 1):
            connection.send(b"%x\r\n%b\r\n" % (len(part), part))  # and no last one
    else:
        connection.putheader("Content-Length", str(10**12))
        connection.endheaders()  # and nothing of the body
    response = connection.getresponse()
    assert response.status == 413
    assert "over 20 MiB" in json.loads(response.read())["error"]
    connection.close()
    assert json.loads(client.ask("GET", "/health")[2])["waiting"] == 0


def test_a_bomb_is_refused_by_its_header(monkeypatch):
    monkeypatch.setattr(uploads.pictures, "decode", None)
    with pytest.raises(uploads.HTTPException, match="pixels"):
        uploads.decode(bomb(), small_map.model().form)


@pytest.mark.parametrize("k", ["0", "-1", "21", "two", "", "²"])
def test_k_is_bounded(client, k):
    status, sentence = client.refusal(
        "POST", f"/query?k={urllib.parse.quote(k)}", encoded(VIEWS[0])
    )
    assert (status, sentence) == (400, "k must be a number from 1 to 20")


def test_a_picture_of_the_map_is_served_by_its_number_alone(client):
    status, headers, body = client.ask("GET", "/image/5")
    with PIL.Image.open(io.BytesIO(body)) as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image).astype(int) - VIEWS[5]).mean() < 12
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert client.refusal("GET", "/image/40")[0] == 404
    for name in ("-1", "1.5", "1e0", "%D9%A3", "0" * 99, "9" * 5000):
        sentence = client.refusal("GET", f"/image/{name}")
        assert sentence == (404, "the map has no such picture: numbers go from 0 to 39")
    for path in ("/image/", "/image/drive/005.png", "/image/..%2F..%2Fetc%2Fpasswd"):
        assert client.ask("GET", path)[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nothing", 404, "not found: ask GET /,"),
        ("GET", "/map/", 404, "not found: ask GET /,"),
        ("GET", "/query", 405, "method not allowed: ask GET /,"),
        ("OPTIONS", "/query", 405, "or POST /query"),
        ("PUT", "/image/3", 405, "/image/NUMBER"),
    ],
)
def test_what_nobody_serves_says_what_is_served(client, method, path, status, words):
    found, sentence = client.refusal(method, path)
    assert (found, words in sentence) == (status, True), sentence


def test_the_page_needs_no_other_host_and_runs_its_own_script_alone(client):
    status, headers, body = client.ask("GET", "/")
    page = body.decode()
    assert status == 200
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/]{43}='", policy)
    assert page.count("<script") == 1


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    found = Client(new_app(tmp_path_factory.mktemp("map"), TOKEN))
    yield found
    found.close()


def test_a_number_too_long_for_python_tells_nothing_without_the_token(guarded):
    assert guarded.refusal("GET", "/image/" + "9" * 5000)[0] == 401


@pytest.mark.parametrize("path", ["/query", "/map", "/image/0"])
def test_without_the_token_nothing_is_told(guarded, path):
    method = "POST" if path == "/query" else "GET"
    body = encoded(VIEWS[0]) if path == "/query" else None
    for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
        status, sentence = guarded.refusal(method, path, body, given)
        assert (status, "token is missing or wrong" in sentence) == (401, True)
    assert guarded.ask(method, path, body, {"Authorization": f"Bearer {TOKEN}"})[0] == 200


def test_the_page_speaks_of_no_nearness_that_a_ratio_is_not(client):
    page = client.ask("GET", "/")[2].decode()
    assert "Such answers are right in" in page and "this near" not in page


def test_the_page_tells_a_screen_reader_what_is_chosen(client):
    page = client.ask("GET", "/")[2].decode()
    for part in ('setAttribute("aria-pressed", i === rank)', '<table aria-label="The most alike'):
        assert part in page


def test_the_page_asks_for_the_token(guarded, client):
    assert b'data-guarded="yes"' in guarded.ask("GET", "/")[2]
    assert b'data-guarded=""' in client.ask("GET", "/")[2]
    assert TOKEN.encode() not in guarded.ask("GET", "/")[2]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_token(host):
    serve.check_address(host, "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_another_address_needs_a_token(host):
    with pytest.raises(ConfigError, match="give --token"):
        serve.check_address(host, "")
    serve.check_address(host, TOKEN)


@pytest.mark.parametrize("token", ["short", "ä" * 20, "a b\n" * 5])
def test_a_weak_token_is_refused(token):
    with pytest.raises(ConfigError, match="16 or more characters"):
        serve.check_address("127.0.0.1", token)


def test_a_taken_port_is_named(client):
    with pytest.raises(ConfigError, match=rf"--port={client.port} cannot be used"):
        serve.listen("127.0.0.1", client.port)


def test_too_many_requests_are_told_to_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_REQUESTS", 2)
    client = Client(new_app(tmp_path, seconds=0.3))
    try:
        found = []
        ask = ("POST", "/query", encoded(VIEWS[0]))
        threads = [
            threading.Thread(target=lambda: found.append(client.ask(*ask))) for _ in range(6)
        ]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert {status for status, _, _ in found} == {200, 503}
        assert all(headers["retry-after"] == "1" for status, headers, _ in found if status == 503)
        assert client.ask(*ask)[0] == 200
    finally:
        client.close()


def test_uploads_beyond_the_memory_are_told_to_come_back(client, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_HELD", 100)
    status, sentence = client.refusal("POST", "/query", encoded(VIEWS[0]))
    assert (status, "too many requests" in sentence) == (503, True)
    monkeypatch.undo()
    assert client.ask("POST", "/query", encoded(VIEWS[0]))[0] == 200


def test_a_silent_client_is_told_so(client, monkeypatch):
    monkeypatch.setattr(uploads, "SILENCE", 0.2)
    status, sentence = client.refusal("POST", "/query", b"", {"Content-Length": "100"})
    assert (status, "nothing came" in sentence) == (408, True)


def test_an_upload_that_never_pauses_ends_too(client, monkeypatch):
    monkeypatch.setattr(uploads, "WHOLE", 0.5)
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as own:
        own.sendall(b"POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n")
        own.settimeout(0.05)
        answer = b""
        for _ in range(200):
            with contextlib.suppress(TimeoutError):
                answer = own.recv(4096)
                break
            own.sendall(b"a")
        own.settimeout(30)
        while part := own.recv(4096):  # the body may come behind the head, and then the end
            answer += part
    assert answer.startswith(b"HTTP/1.1 408") and b"did not come whole in 0.5 seconds" in answer
    assert json.loads(client.ask("GET", "/health")[2])["waiting"] == 0


def test_requests_go_together_in_one_of_two_shapes(tmp_path):
    client = Client(new_app(tmp_path, seconds=0.05))
    try:
        answers = {}
        photos = [encoded(view) for view in VIEWS]

        def ask(i):
            answers[i] = json.loads(client.ask("POST", "/query", photos[i])[2])["numbers"][0]

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(VIEWS))]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert answers == {i: i for i in range(len(VIEWS))}
        shapes = client.app.model.engine.shapes[4:]  # after the map's own, and those of the start
        assert set(shapes) <= {1, batches.SIZE}
        assert len(shapes) < len(VIEWS) / 2
    finally:
        client.close()


def test_a_large_upload_stays_off_the_disk(client, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
    photo = encoded(noise)
    assert len(photo) > 4 * 2**20
    assert client.ask("POST", "/query", *form(photo))[0] == 200


def test_a_failure_is_a_sentence_and_the_server_goes_on(client, monkeypatch):
    monkeypatch.setattr(client.app.places, "query_descriptors", lambda *_: 1 / 0)
    status, sentence = client.refusal("POST", "/query", encoded(VIEWS[0]))
    assert (status, "server failed" in sentence) == (500, True)
    monkeypatch.undo()
    assert client.ask("POST", "/query", encoded(VIEWS[0]))[0] == 200


def test_a_map_whose_picture_is_gone_says_so(client):
    picture = pathlib.Path(client.app.places.frames.paths[5])
    picture.rename(picture.with_suffix(".away"))
    try:
        status, sentence = client.refusal("GET", "/image/5")
        assert (status, sentence) == (410, "picture 5 of the map cannot be read any more")
    finally:
        picture.with_suffix(".away").rename(picture)


def test_health_counts(client):
    before = json.loads(client.ask("GET", "/health")[2])
    client.ask("POST", "/query", encoded(VIEWS[0]))
    client.ask("POST", "/query", b"")
    after = json.loads(client.ask("GET", "/health")[2])
    assert after["answered"] == before["answered"] + 1
    assert after["refused"] == before["refused"] + 1
    assert after["waiting"] == 0


def opened(client, sent=b""):
    """A connection that sends some bytes and no whole request."""
    own = socket.create_connection(("127.0.0.1", client.port), timeout=30)
    own.sendall(sent)
    return own


def test_three_hundred_idle_connections_stop_no_request(client):
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(opened(client)) for _ in range(300)]
        assert client.ask("POST", "/query", encoded(VIEWS[0]))[0] == 200
        for own in idle[: 300 - connections.MOST]:  # those that have waited longest
            assert own.recv(1) == b""
        idle[-1].settimeout(0.2)
        with pytest.raises(TimeoutError):
            idle[-1].recv(1)
        idle[-1].settimeout(30)
        idle[-1].sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle[-1].recv(4096).startswith(b"HTTP/1.1 200")


HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
WITHOUT_BODY = HEAD + b"Content-Length: 99\r\n\r\n"


@pytest.mark.parametrize("start", [b"", HEAD, HEAD + b"\r\n" + HEAD, WITHOUT_BODY])
@pytest.mark.parametrize("drip", [b"", b"a"])
def test_a_connection_without_a_whole_head_is_closed(client, monkeypatch, start, drip):
    monkeypatch.setattr(connections, "SECONDS", 0.6)
    with opened(client, start) as own:
        own.settimeout(0.1)
        begun, left = time.monotonic(), 100
        while left:
            left -= 1
            try:
                if not own.recv(4096):
                    break
            except TimeoutError:
                with contextlib.suppress(OSError):  # closed meanwhile
                    own.sendall(drip)
            except ConnectionResetError:
                break
        assert left and 0.5 < time.monotonic() - begun < 4.5  # uvicorn's own limit is 5 seconds


def test_a_request_in_flight_has_its_own_limits(client, monkeypatch):
    monkeypatch.setattr(connections, "SECONDS", 0.2)
    photo = encoded(VIEWS[4])
    head = f"POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
    with opened(client, head.encode() + photo[:9]) as own:
        time.sleep(0.5)
        own.sendall(photo[9:])
        assert own.recv(4096).startswith(b"HTTP/1.1 200")
