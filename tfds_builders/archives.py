"""Reads files in folders, plain tars and zips by offset, without unpacking.

The headers index a tar once. Any thread or process then reads a member with one seek and one read.
"""

import os
import pathlib
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from tfds_builders.errors import RawDataError

SUFFIXES = (".tar", ".zip")
LARGEST = 1 << 30  # bytes of one file; images and logs stay far below
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
ZIP_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


class Source(NamedTuple):
    """Where a file's bytes lie.

    Attributes:
      path: the file itself, or the archive that holds it.
      name: the member's name in its archive, "" for a plain file.
      offset: where the first byte (tar) or the local header (zip) lies.
      size: bytes to read; the compressed size in a zip.
      kind: "file", "tar", "stored" or "deflated".
      crc: CRC-32 of the bytes in a zip, else 0.
      stamp: changes when the file or archive changes.
    """

    path: pathlib.Path
    name: str
    offset: int
    size: int
    kind: str
    crc: int
    stamp: str

    def __str__(self) -> str:
        """The file as a message names it."""
        return f"{self.path}:{self.name}" if self.name else str(self.path)

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
          RawDataError: they are cut, damaged, unreadable or more than `LARGEST`.
        """
        if self.size > LARGEST:
            raise RawDataError(
                f"{self} has {self.size:,} bytes, where an image or a log has {LARGEST:,} at most; "
                f"remove it, or download or copy {self.path} again"
            )
        try:
            with self.path.open("rb") as file:
                if self.kind in ("stored", "deflated"):
                    return self._unzip(file)
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise RawDataError(f"{self} cannot be read: {error.strerror or error}") from error
        if len(data) < self.size:
            raise RawDataError(f"{self} is truncated; download or copy {self.path} again")
        return data

    def _unzip(self, file) -> bytes:
        file.seek(self.offset)
        header = file.read(ZIP_LOCAL_HEADER.size)
        if len(header) == ZIP_LOCAL_HEADER.size and header[:4] == b"PK\x03\x04":
            *_, name_length, extra_length = ZIP_LOCAL_HEADER.unpack(header)
            file.seek(name_length + extra_length, 1)
            data = file.read(self.size)
            try:
                if self.kind == "deflated":
                    data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, LARGEST + 1)
                if len(data) <= LARGEST and zlib.crc32(data) == self.crc:
                    return data
            except zlib.error:
                pass
        raise RawDataError(f"{self} is damaged; download or copy {self.path} again")


def files(path: pathlib.Path) -> Iterator[tuple[str, Source]]:
    """Names (with `/`) and sources of all files in a folder, a tar or a zip.

    Raises:
      RawDataError: the archive is truncated, damaged, compressed as a whole or encrypted.
    """
    if path.is_dir():
        return _folder(path)
    if is_packed(path):
        raise RawDataError(
            f"{path} is compressed as a whole, so its files cannot be read one by one; unpack it and "
            "remove the archive"
        )
    return _zip(path) if path.suffix == ".zip" else _tar(path)


def is_packed(path: pathlib.Path) -> bool:
    """Whether an archive is compressed as a whole, which the user must unpack first."""
    return path.name.endswith(PACKED) and not path.is_dir()


def _stamp(stat) -> str:
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def _folder(folder: pathlib.Path) -> Iterator[tuple[str, Source]]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = pathlib.Path(root, name)
            stat = path.stat()
            source = Source(path, "", 0, stat.st_size, "file", 0, _stamp(stat))
            yield path.relative_to(folder).as_posix(), source


def _tar(path: pathlib.Path) -> Iterator[tuple[str, Source]]:
    stat = path.stat()
    stamp = _stamp(stat)
    cut = f"{path} is truncated or damaged (after %s files); download or copy it again"
    count = 0
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # this loop keeps the index; tarfile would keep every header too
                start, end = member.offset_data, member.offset_data + member.size
                if member.issparse() or not start <= end <= stat.st_size:
                    raise tarfile.ReadError  # past the end, or before the header: an endless loop
                if member.isfile():
                    count += 1
                    yield (
                        member.name.removeprefix("./"),
                        Source(path, member.name, start, member.size, "tar", 0, stamp),
                    )
            end = tar.offset
    except (tarfile.TarError, ValueError, OverflowError, MemoryError) as error:
        raise RawDataError(cut % count) from error
    with path.open("rb") as file:
        file.seek(end)
        if file.read(512) != bytes(512):  # a tar ends with blocks of zeros
            raise RawDataError(cut % count)


def _zip(path: pathlib.Path) -> Iterator[tuple[str, Source]]:
    kinds = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
    stamp = _stamp(path.stat())
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise RawDataError(f"{path} is truncated or no zip; download or copy it again") from error
    for member in members:
        if not member.filename:  # is_dir() fails on it
            raise RawDataError(f"{path} is damaged (a name is empty); download or copy it again")
        if member.is_dir():
            continue
        kind = kinds.get(member.compress_type)
        if kind is None or member.flag_bits & 1:
            raise RawDataError(f"{path} is encrypted or compressed in an unusual way; unpack it")
        yield (
            member.filename,
            Source(
                path,
                member.filename,
                member.header_offset,
                member.compress_size,
                kind,
                member.CRC,
                stamp,
            ),
        )
