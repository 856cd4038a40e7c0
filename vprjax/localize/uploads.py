"""Pictures that a request sends: read within bounds, in memory alone."""

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncIterator, Iterator

import numpy as np
import PIL.Image
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from vprjax.data import pictures
from vprjax.errors import DataError

MOST_BYTES = 20 * 2**20  # of a request
MOST_PIXELS = 2**26  # of a picture: 200 MB once decoded; half of what a file of one's own may have
MOST_REQUESTS = 256  # at a time, those that wait included
MOST_HELD = 256 * 2**20  # bytes of all requests at a time
SILENCE = 20  # seconds that a client may send nothing
WHOLE = 120  # seconds that a request's body may take
NO_FILE = "the request holds no picture: send a file's bytes as the body, or a form with one file"


class Load:
    """What a server holds at a time.

    Attributes:
      requests: that are being answered.
      held: bytes of their uploads.
    """

    def __init__(self):
        """Starts with nothing."""
        self.requests = self.held = 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """A context of one request.

        Raises:
          HTTPException: 503, as there are too many.
        """
        if self.requests >= MOST_REQUESTS:
            raise busy()
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1


def busy() -> HTTPException:
    """The error of a server that holds all it may."""
    sentence = "the server answers too many requests at the moment: send this one again in a second"
    return HTTPException(503, sentence, {"Retry-After": "1"})


class _InMemory(MultiPartParser):
    spool_max_size = MOST_BYTES + 1  # Starlette's own moves files of over 1 MB to the disk


async def image(request: Request, load: Load, form: pictures.Form, decoders) -> np.ndarray:
    """The picture of a request as uint8 `(h, w, 3)`, RGB, in this form.

    Args:
      request: its body is an encoded image, or a form with one file.
      load: of the server.
      form: of the result.
      decoders: executor that decodes.

    Raises:
      HTTPException: it holds no picture, one that cannot be read, or too much.
    """
    upload = _Upload(request, load)
    try:
        raw = await upload.read()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(decoders, decode, raw, form)
    finally:
        load.held -= upload.size


class _Upload:
    """The body of a request; `size` is what was read of it."""

    def __init__(self, request: Request, load: Load):
        self._request, self._load, self.size = request, load, 0

    async def read(self) -> bytes:
        if int(self._request.headers.get("content-length") or 0) > MOST_BYTES:
            raise _too_long()
        kind = self._request.headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() == "multipart/form-data":
            return await self._file()
        return b"".join([chunk async for chunk in self._chunks()])

    async def _file(self) -> bytes:
        parser = _InMemory(self._request.headers, self._chunks(), max_files=1, max_fields=8)
        try:
            parts = await parser.parse()
        except (MultiPartException, ValueError) as error:  # ValueError: of starlette 1.0's parser
            words = getattr(error, "message", str(error)).rstrip(".")
            sentence = f"the form cannot be read ({words}): send one with one file"
            raise HTTPException(400, sentence) from error
        try:
            return _read(parts)
        finally:
            await parts.close()

    async def _chunks(self) -> AsyncIterator[bytes]:
        stream, last = aiter(self._request.stream()), time.monotonic() + WHOLE
        while True:
            rest = last - time.monotonic()
            try:
                async with asyncio.timeout(min(SILENCE, rest)):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                sentence = f"nothing came for {SILENCE} seconds: send the picture again"
                if rest < SILENCE:
                    sentence = (
                        f"the picture did not come whole in {WHOLE} seconds: send a smaller one"
                    )
                raise HTTPException(408, sentence, {"Connection": "close"}) from error
            except ClientDisconnect as error:
                raise HTTPException(400, "the client left before the picture was sent") from error
            self.size += len(chunk)
            self._load.held += len(chunk)
            if self.size > MOST_BYTES:
                raise _too_long()
            if self._load.held > MOST_HELD:
                raise busy()
            yield chunk


def _read(parts: FormData) -> bytes:
    """The bytes of a form's file; its name, which is not used, may hold no path."""
    files = [part for _, part in parts.multi_items() if not isinstance(part, str)]
    if not files:
        raise HTTPException(400, NO_FILE)
    if "/" in files[0].filename or "\\" in files[0].filename:
        raise HTTPException(400, "the file's name holds a path: send its plain name")
    return files[0].file.read()


def _too_long() -> HTTPException:
    return HTTPException(
        413,
        f"the request has over {MOST_BYTES // 2**20} MiB, the most that is read: shrink the picture",
    )


def decode(raw: bytes, form: pictures.Form) -> np.ndarray:
    """The encoded image in this form; its header alone is read where it has too many pixels.

    Raises:
      HTTPException: there is no image, it is damaged or too large.
    """
    if not raw:
        raise HTTPException(400, NO_FILE)
    if _pixels(raw) > MOST_PIXELS:
        sentence = f"the picture has over {MOST_PIXELS:,} pixels, the most that is read: shrink it"
        raise HTTPException(413, sentence)
    try:
        return pictures.fit(pictures.decode(raw, "sent", form.sixteen_bit), form)
    except DataError as error:
        raise HTTPException(415, str(error)) from error


def _pixels(raw: bytes) -> int:
    """How many pixels the header of an encoded image promises; 0 where it cannot be read."""
    try:
        with PIL.Image.open(io.BytesIO(raw), formats=pictures.FORMATS) as found:
            return found.width * found.height
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        return MOST_PIXELS + 1
    except Exception:  # a damaged header makes Pillow raise anything; `pictures.decode` names it
        return 0
