"""A map over HTTP: a photo comes in, the places that look most alike go out; one page, one JSON endpoint.

Nothing of a request is kept or written: no picture, no name, no address. What the server says on standard
error is counts.
"""

import asyncio
import base64
import concurrent.futures
import functools
import hashlib
import hmac
import http
import ipaddress
import json
import logging
import pathlib
import re
import signal
import socket
import warnings

import numpy as np
import PIL.Image

from vprjax.console import log
from vprjax.errors import ConfigError, DataError
from vprjax.localize import degrees
from vprjax.localize.batches import Batches
from vprjax.localize.drawing import dots
from vprjax.localize.map_pictures import MapPictures
from vprjax.report import jpeg, render

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route

    from vprjax.localize import connections, uploads
except ImportError as e:
    raise ConfigError(
        f"serve needs the extra of that name ({e}): pip install 'vprjax[serve]'"
    ) from e

ROOM = pathlib.Path(__file__).parent
TITLE = "Where was this photo taken?"
MOST_K = 20  # answers of a request
SHORTEST_TOKEN = 16  # characters
ENDING = 30  # seconds that requests in flight may take once the server ends
WIDEST = 480  # pixels of a picture of the map
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether an address, or the name localhost, is this machine's own."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_address(host: str, token: str) -> None:
    """Checks who may ask, before anything is loaded.

    Raises:
      ConfigError: others than this machine could ask without a token, or the token is easy to guess.
    """
    if token and not (token.isascii() and token.isprintable() and len(token) >= SHORTEST_TOKEN):
        raise ConfigError(
            f"--token must have {SHORTEST_TOKEN} or more characters of ASCII; make one with: "
            'python -c "import secrets; print(secrets.token_urlsafe())"'
        )
    if not token and not is_loopback(host):
        raise ConfigError(
            f"--host={host} lets other machines ask: give --token=SECRET too, or leave --host away"
        )


class App:
    """The application: `asgi` is what a server runs.

    Attributes:
      asgi: the routes.
      answered: pictures so far.
      refused: requests so far.
    """

    def __init__(self, places, token: str = "", loopback: bool = True):
        """Starts the thread that answers and compiles what it needs.

        Args:
          places: the map that is asked.
          token: that requests must bear; "" for none.
          loopback: refuse requests whose Host header names another machine.
        """
        logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it quotes damaged forms
        self.places, self.model, self._calibration = places, places.model, places.calibration
        self._token, self._loopback = token, loopback
        self._pictures = MapPictures(places, self.model.form)
        self._degrees = _degrees(places)
        self.answered = self.refused = 0
        self._load, self._most = uploads.Load(), min(MOST_K, len(places))
        self._threads = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="pictures")
        self._batches = Batches(self._find)
        self._batches.warm_up(np.zeros((*self.model.size, 3), np.uint8))
        self._page = render.text(
            "serve.html", ROOM, title=TITLE, most=uploads.MOST_BYTES, guarded="yes" if token else ""
        )
        script = re.search(r"<script>(.*)</script>", self._page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        self._policy = (
            f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
            "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        routes = [
            Route("/", self._get_page),
            Route("/health", self._get_health),
            Route("/map", self._guarded(self._get_map)),
            Route("/image/{number}", self._guarded(self._get_image)),
            Route("/query", self._guarded(self._query), methods=["POST"]),
        ]
        errors = {HTTPException: self._refuse, Exception: self._fail}
        self.asgi = Starlette(routes=routes, exception_handlers=errors)
        self.asgi.router.redirect_slashes = False  # a redirect would come before every check

    def close(self) -> None:
        """Answers what waits and ends the threads."""
        self._batches.close()
        self._threads.shutdown()

    def _find(self, images: np.ndarray, batch: int) -> list:
        """The answers to pictures; both steps have the shape of a whole batch."""
        descriptors = self.model.describe(images, batch)
        padded = np.resize(descriptors, (batch, descriptors.shape[1]))
        found = self.places.query_descriptors(padded, self._most, self._calibration)
        return found[: len(images)]

    def _guarded(self, endpoint):
        """The endpoint, for those alone who may ask."""

        async def checked(request: Request) -> Response:
            if self._loopback:
                _check_names(request)
            if self._token:
                words = request.headers.get("authorization", "").split()
                given = words[1] if len(words) == 2 and words[0].lower() == "bearer" else ""
                if not hmac.compare_digest(given.encode(), self._token.encode()):
                    sentence = "the token is missing or wrong: send Authorization: Bearer TOKEN"
                    raise HTTPException(401, sentence, {"WWW-Authenticate": "Bearer"})
            return await endpoint(request)

        return checked

    async def _get_page(self, request: Request) -> Response:
        if self._loopback:
            _check_names(request)
        return HTMLResponse(
            self._page, headers={**HEADERS, "Content-Security-Policy": self._policy}
        )

    async def _get_health(self, request: Request) -> Response:
        facts = {"ok": True, "answered": self.answered, "refused": self.refused}
        return JSONResponse({**facts, "waiting": self._load.requests}, headers=HEADERS)

    async def _get_map(self, request: Request) -> Response:
        known = dots(self.places.frames.positions)
        facts = {"model": self.model.title, "images": len(self.places)}
        facts |= {"k": self._most, "unit": self.places.unit, "crs": self.places.crs}
        return JSONResponse({**facts, "positions": known.round(3).tolist()}, headers=HEADERS)

    async def _get_image(self, request: Request) -> Response:
        number, count = request.path_params["number"], len(self.places)
        # Python converts no text of thousands of digits.
        short = number.isascii() and number.isdecimal() and len(number) <= len(str(count))
        if not short or int(number) >= count:
            raise HTTPException(
                404, f"the map has no such picture: numbers go from 0 to {count - 1}"
            )
        loop = asyncio.get_running_loop()
        data = await loop.run_in_executor(self._threads, self._thumbnail, int(number))
        return Response(data, media_type="image/jpeg", headers=HEADERS)

    def _thumbnail(self, number: int) -> bytes:
        try:
            return jpeg.encoded(self._pictures(number), WIDEST)
        except (DataError, OSError) as error:
            sentence = f"picture {number} of the map cannot be read any more"
            raise HTTPException(410, sentence) from error

    async def _query(self, request: Request) -> Response:
        k = request.query_params.get("k", "5")
        if not (k.isascii() and k.isdecimal() and 0 < len(k) < 4 and 1 <= int(k) <= MOST_K):
            raise HTTPException(400, f"k must be a number from 1 to {MOST_K}")
        with self._load.one():
            form = self.model.form
            image = await uploads.image(request, self._load, form, self._threads)
            answer = await asyncio.wrap_future(self._batches.submit(image))
        self.answered += 1
        return JSONResponse(
            as_json(answer, min(int(k), self._most), self._degrees), headers=HEADERS
        )

    async def _refuse(self, request: Request, error: HTTPException) -> Response:
        self.refused += 1
        headers, sentence = {**HEADERS, **(error.headers or {})}, error.detail
        if sentence == http.HTTPStatus(error.status_code).phrase:  # of Starlette's own refusals
            sentence = (
                f"{sentence.lower()}: ask GET /, /map, /health or /image/NUMBER, or POST /query"
            )
        return JSONResponse({"error": sentence}, error.status_code, headers)

    async def _fail(self, request: Request, error: Exception) -> Response:
        self.refused += 1
        sentence = "the server failed, and its owner finds the reason in its output"
        return JSONResponse({"error": sentence}, 500, HEADERS)


def _degrees(places):
    """What gives latitudes and longitudes of a map's positions; None where its system tells none."""
    if not places.crs:
        return None
    try:
        return degrees.change(places.crs)
    except DataError as error:
        log(f"{places.folder}: {error}, so answers have no latitude and longitude")
        return None


def _check_names(request: Request) -> None:
    """Raises 403 where a page of another site asks, perhaps under a name that it gave this machine."""
    origin = request.headers.get("origin")
    hosts = [f"//{request.headers.get('host', '')}", *([origin] if origin else ())]
    for host in hosts:
        name = re.sub(r"^.*//|:\d+$", "", host)
        if not is_loopback(name):
            raise HTTPException(
                403, "this server answers pages of its own machine alone: open http://localhost"
            )


def as_json(answer, k: int, degrees=None) -> dict:
    """The first `k` places of an answer as JSON values; null are unknown positions, and `located` so.

    `degrees`, what gives latitudes and longitudes (`degrees.change`), adds `lat_lon`.
    """
    positions = answer.positions[:k].astype(np.float64)
    known = np.isfinite(positions).all(axis=1)
    also = {"lat_lon": degrees(positions)} if degrees else {}
    return {
        "image_ids": [str(name) for name in answer.image_ids[:k]],
        "numbers": [int(number) for number in answer.numbers[:k]],
        "positions": [
            row.round(3).tolist() if ok else None for row, ok in zip(positions, known, strict=True)
        ],
        **also,
        "distances": [round(float(one), 6) for one in answer.distances[:k]],
        "confidence": round(float(answer.confidence), 6),
        "located": answer.located,
        "rule": answer.rule,
        "queries": answer.queries,
        "k": k,
    }


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises:
      ConfigError: the address is not this machine's, or taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"--host={host} --port={port} cannot be used ({reason}): name another address or port"
        ) from error


def server(app: App) -> uvicorn.Server:
    """The server of an application."""
    return uvicorn.Server(
        uvicorn.Config(
            app.asgi,
            http=functools.partial(connections.Protocol, connections.Idle()),
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="error",
            server_header=False,
            timeout_graceful_shutdown=ENDING,
        )
    )


def serve(places, listener: socket.socket, token: str = "") -> None:
    """Answers requests from the map `places` until SIGTERM or SIGINT, then those in flight.

    Raises:
      DataError: the map's model is not there.
    """
    warnings.simplefilter(
        "error", PIL.Image.DecompressionBombWarning
    )  # instead of a line on stderr
    host, port = listener.getsockname()[:2]
    app = App(places, token, is_loopback(host))
    running = server(app)
    # uvicorn raises the signal again once it has ended; the end is then no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    log(f"http://{f'[{host}]' if ':' in host else host}:{port} answers; Ctrl+C ends it")
    try:
        running.run(sockets=[listener])
    finally:
        app.close()
        log(json.dumps({"answered": app.answered, "refused": app.refused}))
