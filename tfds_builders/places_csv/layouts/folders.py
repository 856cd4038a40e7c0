"""Folders of images as splits: what the layouts without a table share."""

import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
OTHERS = (
    ".avif",
    ".cr2",
    ".dng",
    ".gif",
    ".heic",
    ".heif",
    ".jp2",
    ".nef",
)  # images that are not read
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".zst")
# Folders that file servers and systems put beside the data, besides those with a leading dot.
SYSTEMS = ("@eadir", "#recycle", "$recycle.bin", "__macosx", "lost+found")


def files_below(folder: pathlib.Path) -> list[pathlib.Path]:
    """All files below a folder, sorted by path, with those below links to folders elsewhere.

    A link into the folder itself, whose files are read already, is passed over. Python's own `rglob`
    follows no link.

    Raises:
      RawDataError: a folder that is no system's may not be read.
    """
    top = os.path.realpath(folder)
    return sorted(map(pathlib.Path, _files(str(folder), (top,), set(), False)))


def _files(folder: str, tops: tuple[str, ...], linked: set[str], hidden: bool) -> Iterator[str]:
    """Yields the files below `folder`.

    Args:
      folder: its path, by links.
      tops: the real paths of the whole tree, and of the links that led here.
      linked: real paths of all links that were followed; a link behind a link adds what is not there yet.
      hidden: whether the folder lies below a system's.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError as error:
        if hidden:
            return
        raise RawDataError(f"{folder} may not be read; allow it, or move it away") from error
    for entry in entries:
        if not _is_folder(entry):
            yield entry.path
            continue
        inner = tops
        if entry.is_symlink():
            real = os.path.realpath(entry.path)
            if any(_holds(top, real) or _holds(real, top) for top in tops):
                continue
            if len(tops) > 1 and real in linked:
                continue
            linked.add(real)
            inner = (*tops, real)
        yield from _files(entry.path, inner, linked, hidden or is_hidden(entry.name))


def _is_folder(entry: os.DirEntry) -> bool:
    """Whether it is a folder or a link to one; a link that leads nowhere is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _holds(folder: str, path: str) -> bool:
    """Whether a real path is the folder or lies below it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def image_files(folder: pathlib.Path, warnings: list[str]) -> list[pathlib.Path]:
    """All images below `folder`, sorted by path; `warnings` takes the counts of those passed over."""
    files = files_below(folder)
    others = [path for path in files if path.suffix.lower() in OTHERS]
    if others:
        warnings.append(
            f"{len(others)} images in formats that are not read are passed over, e.g. "
            f"{others[0].relative_to(folder).as_posix()}; write them as JPEG or PNG"
        )
    return visible(folder, files, warnings)


def visible(
    folder: pathlib.Path, files: Iterable[pathlib.Path], warnings: list[str]
) -> list[pathlib.Path]:
    """The images among the files below `folder`; `warnings` takes the count of hidden ones passed over."""
    every = [path for path in files if path.suffix.lower() in IMAGES]
    found = [path for path in every if not any(map(is_hidden, path.relative_to(folder).parts))]
    hidden = sorted(path for path in set(every) - set(found) if path.is_file())
    if hidden:
        warnings.append(
            f"{len(hidden)} images in hidden files or a system's folders are passed over, e.g. "
            f"{hidden[0].relative_to(folder).as_posix()}"
        )
    return found


def remedy(folder: pathlib.Path, patterns: Sequence[str], otherwise: str) -> str:
    """What to do where none of the glob `patterns` is in a raw folder.

    It is another `--manual_dir`, an archive to unpack, or else `otherwise`.
    """
    for other in (folder.parent, *sorted(path for path in folder.iterdir() if path.is_dir())):
        found = (path for pattern in patterns for path in other.glob(pattern))
        if any(path.is_relative_to(folder) for path in found):
            return f"give --manual_dir={other}"
    places = ["*", "*/*", *(f"{pattern}.*" for pattern in patterns)]
    packed = sorted(p for place in places for p in folder.glob(place) if is_archive(p.name))
    return f"unpack {packed[0].relative_to(folder)} there" if packed else otherwise


def is_archive(name: str) -> bool:
    """Whether a file of this name is to be unpacked."""
    return name.lower().endswith(ARCHIVES) and not is_hidden(name)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden or a system's own."""
    return name.startswith(".") or name.lower() in SYSTEMS


def split_name(parts: Sequence[str]) -> str:
    """The split of a folder, whose path has these parts."""
    return re.sub(r"[^0-9A-Za-z_]", "_", "_".join(parts)) or "images"


def check_apart(folders: Iterable[Sequence[str]]) -> None:
    """Raises RawDataError where two folders (their paths' parts) give one split: `a/b` and `a_b`."""
    paths: dict[str, str] = {}
    for path in sorted({"/".join(parts) for parts in folders}):
        split = split_name(path.split("/"))
        other = paths.setdefault(split, path)
        if other != path:
            raise RawDataError(
                f"folders {other} and {path} would both be split {split!r}; rename one"
            )


def in_time(frames: list[Frame]) -> list[Frame]:
    """The frames by time where all have one, else numbered in their order."""
    if all(frame.timestamp is not None for frame in frames):
        return sorted(frames, key=lambda frame: frame.timestamp)
    return [frame._replace(timestamp=number) for number, frame in enumerate(frames)]


def done(
    folder: pathlib.Path, splits: dict[str, list[Frame]], problems: Sequence[str]
) -> dict[str, list[Frame]]:
    """The splits that hold images.

    Raises:
      RawDataError: there are problems, or no images.
    """
    if not any(splits.values()) and not problems:
        raise RawDataError(f"{folder} holds no images ({', '.join(IMAGES)}); name another folder")
    empty = [name for name, frames in splits.items() if not frames]
    if problems:
        raise RawDataError(*problems)
    return {name: frames for name, frames in splits.items() if name not in empty}
