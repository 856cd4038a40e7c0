"""Readers of weights files: safetensors, PyTorch, Keras, NumPy, `.mat`, Caffe, OverFeat, TensorFlow.

Every reader treats a file as hostile: it runs none of its code and allocates no more than a limit.
"""

import collections
import hashlib
import io
import mmap
import pathlib
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import h5py
import numpy as np
import safetensors.numpy

from vprjax.errors import WeightsError
from vprjax.models.backbones.overfeat import raw_name
from vprjax.weights import bundle, caffemodel, matlab, pickles
from vprjax.weights.pickles import Unfit

# Bytes of all arrays of a file. VGG16 with its classifier takes half; a small file can claim any number.
# A file that stores its arrays as they are may hold more, as ViT-L and ViT-g do: see `_most`.
LARGEST = 1 << 30
DEEPEST = 5  # levels of mappings in which a checkpoint's arrays may lie
HDF5 = b"\x89HDF\r\n\x1a\n"
# First bytes of files that are sound, but no weights: what they are, and what to do.
_OTHERS = (
    (rb"\s*<(!doctype|html|\?xml)", "a web page; download the file itself"),
    (rb"version https://git-lfs", "a pointer of Git LFS; fetch the file with: git lfs pull"),
    (rb"(?s).{257}ustar", "a tar archive; unpack it and name the file inside"),
)


def source(file: pathlib.Path) -> str:
    """Returns the family of a file by its suffix.

    Raises:
      WeightsError: the suffix is unknown.
    """
    return _kind(file).source


def read(file: pathlib.Path, wanted: str) -> dict[str, np.ndarray]:
    """Reads a file's arrays by name, as it stores them; only the error names what is `wanted`.

    Raises:
      WeightsError: the suffix is unknown, or the file unreadable or hostile.
    """
    reader = _kind(file).read
    try:
        _check_start(file)
        return reader(file)
    except WeightsError:
        raise
    except Unfit as e:
        raise WeightsError(f"{file} gives {wanted} no weights: {e}") from e
    except Exception as e:  # a damaged file makes a reader raise anything
        cause = str(e).strip().partition("\n")[0] or type(e).__name__
        raise WeightsError(
            f"{file} is truncated, corrupt or of another format; expected weights of {wanted} ({cause}): "
            "fetch it again"
        ) from e


def sha256(file: pathlib.Path) -> str:
    """Returns the SHA-256 of a file's bytes, hexadecimal; an index's is with the data beside it."""
    digest = hashlib.sha256()
    for part in bundle.parts(file) if _suffix(file, [bundle.SUFFIX]) else [file]:
        with part.open("rb") as f:
            hashlib.file_digest(f, lambda: digest)
    return digest.hexdigest()


def _check_size(sizes: Iterable[int], most: int | None = None) -> None:
    """Raises Unfit where a file's arrays claim more bytes than `most`, or than any weights have."""
    if sum(sizes) > (most := LARGEST if most is None else most):
        raise Unfit(f"its arrays claim more than {most:,} bytes; save the backbone's alone")


def _most(file: pathlib.Path) -> int:
    """Bytes that arrays of a file may claim which stores them as they are, uncompressed.

    They may be twice what the file takes on the disk, as half precision becomes float32. A hole in a
    sparse file takes nothing there.
    """
    found = file.stat()
    stored = min(found.st_size, 512 * getattr(found, "st_blocks", found.st_size))
    return max(LARGEST, 2 * stored)


def _check_start(file: pathlib.Path) -> None:
    """Raises Unfit where a file begins as one that people mistake for weights."""
    with file.open("rb") as f:
        start = f.read(512)
    for pattern, what in _OTHERS:
        if re.match(pattern, start, re.IGNORECASE):
            raise Unfit(f"it is {what}")


def _read_npz(file: pathlib.Path) -> dict[str, np.ndarray]:
    with file.open("rb") as f:
        arrays = np.load(f, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            raise ValueError("one bare array instead of an archive")
        _check_size(member.file_size for member in arrays.zip.infolist())
        return {name: arrays[name] for name in arrays.files}


def _read_safetensors(file: pathlib.Path) -> dict[str, np.ndarray]:
    _check_size([file.stat().st_size], _most(file))  # the format claims no more than the file has
    return safetensors.numpy.load_file(file)


def _read_h5(file: pathlib.Path | io.BytesIO) -> dict[str, np.ndarray]:
    """Reads Keras' HDF5 files: `.h5` of Keras 2, `.weights.h5` of Keras 3."""
    with h5py.File(file) as f:
        root = f.get("model_weights", f)  # a whole saved model keeps its weights there
        items, sizes = [], []

        def add(name, item):
            if isinstance(item, h5py.Dataset):
                if item.file != f or item.external or item.is_virtual:
                    raise ValueError(f"{item.name} lies in another file")
                sizes.append(item.nbytes)
                _check_size(sizes)
                items.append((name, item))

        for layer, group in root.items():
            if isinstance(group, h5py.Group):
                group.visititems(lambda name, item, layer=layer: add(f"{layer}/{name}", item))
        named = _keras3_names if any("/vars/" in name for name, _ in items) else _keras2_names
        found = dict(pairs := [*named(items)])
        if len(found) < len(pairs):
            raise Unfit("two of its models have layers of the same names: save one of them alone")
        return {name: item[()] for name, item in found.items()}


def _keras2_names(items: list) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yields `layer/kernel` of the items `layer/.../kernel:0`; VGG16's own file has `layer/layer_W_1:0`.

    A model as a layer of another gives its own name to all its arrays. There the group above each counts.
    """

    def named(layer: str, leaf: str) -> str:
        leaf = leaf.removesuffix(":0").removeprefix(f"{layer}_")
        leaf = re.sub(r"^W(_\d+)?$", "kernel", leaf)
        return f"{layer}/" + re.sub(r"^b(_\d+)?$", "bias", leaf)

    paths = [path.split("/") for path, _ in items]
    outer = collections.Counter(named(parts[0], parts[-1]) for parts in paths)
    several = {name.partition("/")[0] for name, count in outer.items() if count > 1}
    for parts, (_, item) in zip(paths, items, strict=True):
        yield named(parts[-2] if parts[0] in several else parts[0], parts[-1]), item


def _keras3_names(items: list) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yields `layer/kernel` of the items `layers/conv2d_1/vars/0`; an attribute names the layer.

    Raises:
      Unfit: an early Keras 3 wrote no names.
    """
    for path, item in items:
        group, _, number = path.rpartition("/vars/")
        if path.startswith("optimizer") or re.search("seed_generator|metric|loss_tracker", path):
            continue
        layer = item.parent.attrs.get("name")
        if not isinstance(layer, str):
            raise Unfit(
                "an early Keras 3 wrote it without the layers' names; load it there and save it as .h5"
            )
        kind = re.sub(r"_\d+$", "", group.rpartition("/")[2])
        leaves = _KERAS3_LEAVES.get(kind, ())
        yield f"{layer}/{leaves[int(number)] if int(number) < len(leaves) else number}", item


# Arrays of a layer by its class, in the order of their numbers.
_KERAS3_LEAVES = {
    "conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "depthwise_conv2d": ("depthwise_kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}


def _read_keras(file: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the weights in a `.keras` archive of Keras 3, and none of the model's own code."""
    with file.open("rb") as f:
        if f.read(len(HDF5)) == HDF5:  # Keras 2 under a new suffix
            return _read_h5(file)
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo("model.weights.h5")
        _check_size([info.file_size])
        with archive.open(info) as member:
            return _read_h5(io.BytesIO(member.read(LARGEST + 1)))


def _read_torch(file: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict or a checkpoint around one; never runs the pickle's code.

    Tensors of a checkpoint have the names of its mappings in front, `state_dict.conv1.weight`.
    """
    try:
        import torch
    except ImportError as e:
        raise WeightsError(
            f"{file} needs PyTorch to be read; install torch, or convert it to .safetensors"
        ) from e
    _check_pickle(file)
    try:
        with torch.serialization.safe_globals(pickles.GLOBALS):
            state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        named = re.search(r"(?:GLOBAL|global:?|class) ([\w.]+\.\w+)", str(e))
        if not named:
            raise
        raise Unfit(
            f"refused: its pickle names {named[1]}, so it is not a pickle of tensors only and could run "
            "code; save the state dict alone or convert it to .safetensors"
        ) from e
    found = _tensors(state, torch.is_tensor)
    # An expanded tensor has more numbers than its storage.
    tensors = {n: a.detach() for n, a in found.items() if torch.is_tensor(a)}
    _check_size((max(4, a.element_size()) * a.numel() for a in tensors.values()), _most(file))
    floats = {n: a.float() for n, a in tensors.items() if a.is_floating_point()}  # NumPy lacks some
    return found | {n: a.numpy() for n, a in (tensors | floats).items()}


def _tensors(state, is_tensor: Callable) -> dict:
    """The tensors and NumPy arrays of nested mappings by their dotted names; texts do not count.

    Raises:
      Unfit: there is no tensor, or one whose name is no text.
    """
    if not isinstance(state, Mapping):
        raise Unfit(f"not a plain state dict of tensors, but a {type(state).__name__}")
    found, seen, level = {}, {id(state)}, [("", state)]
    for _ in range(DEEPEST):
        inner = []
        for prefix, mapping in level:
            for name, value in mapping.items():
                value = pickles.numbers(name, value)
                if is_tensor(value) and not isinstance(name, str):
                    raise Unfit(f"not a plain state dict of tensors: one has the name {name!r:.40}")
                if is_tensor(value) or (isinstance(value, np.ndarray) and isinstance(name, str)):
                    found[prefix + name] = value
                elif isinstance(value, Mapping) and isinstance(name, str) and id(value) not in seen:
                    seen.add(id(value))
                    inner.append((f"{prefix}{name}.", value))
        level = inner
    if not found:
        keys = ", ".join(f"{key!s:.40}" for key in list(state)[:5])
        raise Unfit(
            f"not a plain state dict of tensors, nor a checkpoint with one; its keys: {keys}"
        )
    return found


def _check_pickle(file: pathlib.Path) -> None:
    """Raises Unfit where a pickle's size or a long text in it is not a state dict's."""
    with file.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as start:
        if start[:4] != b"PK\3\4":  # PyTorch's own test for an archive
            # Magic number, protocol, system, the state dict and its storages' keys.
            pickles.check(start, count=5)
            return
    with zipfile.ZipFile(file) as archive:
        _check_size((info.file_size for info in archive.infolist()), _most(file))
        if any(info.filename.endswith("/constants.pkl") for info in archive.infolist()):
            raise Unfit("it is a TorchScript program; save its state_dict() instead")
        found = [info for info in archive.infolist() if info.filename.endswith("data.pkl")]
        if len(found) != 1:
            raise ValueError(f"it holds {len(found)} state dicts instead of one")
        if found[0].file_size > pickles.LARGEST_INSIDE:
            raise Unfit(f"its pickle takes more than {pickles.LARGEST_INSIDE:,} bytes")
        with archive.open(found[0]) as member:
            pickles.check(member, count=1)


def _read_mat(file: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads MatConvNet's `net`: `net.layers.0.weights.0`, ..."""
    try:
        return matlab.read(file, LARGEST)
    except matlab.TooLarge as e:
        raise Unfit(str(e)) from e


def _read_overfeat(file: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads OverFeat's raw file: float32 numbers, whose network their count tells."""
    size = file.stat().st_size
    _check_size([size], _most(file))
    if size % 4:
        raise ValueError("it ends inside a number")
    return {raw_name(size // 4): np.fromfile(file, "<f4")}


class _Kind(NamedTuple):
    source: str  # a key of `Backbone.sources`
    read: Callable[[pathlib.Path], dict[str, np.ndarray]]


_KINDS = {
    ".safetensors": _Kind("torch", _read_safetensors),
    ".pth": _Kind("torch", _read_torch),
    ".pt": _Kind("torch", _read_torch),
    ".h5": _Kind("keras", _read_h5),
    ".npz": _Kind("keras", _read_npz),
    ".pth.tar": _Kind("torch", _read_torch),
    ".ckpt": _Kind("torch", _read_torch),
    ".torch": _Kind("torch", _read_torch),
    ".keras": _Kind("keras", _read_keras),
    ".mat": _Kind("torch", _read_mat),
    ".index": _Kind("tensorflow", lambda file: bundle.read(file, _check_size)),
    ".caffemodel": _Kind("caffe", lambda f: caffemodel.read(f, lambda s: _check_size(s, _most(f)))),
    "net_weight_0": _Kind("overfeat", _read_overfeat),  # OverFeat's own names: the fast network,
    "net_weight_1": _Kind("overfeat", _read_overfeat),  # and the accurate one
}


_REMEDIES = {
    ".bin": "; if PyTorch wrote it, rename it to .pth",
    ".pb": "; of a SavedModel name the variables/variables.index",
    ".prototxt": "; it describes a network: name its .caffemodel",
    ".npy": "; write its arrays by numpy.savez, one per Keras name",
    ".gz": "; unpack it first",
    ".zip": "; unpack it first",
    ".onnx": "; save the model's state dict as .safetensors where it was trained",
}


def known(file: pathlib.Path) -> bool:
    """Whether a reader knows the file's suffix."""
    return bool(_suffix(file, _KINDS))


def _suffix(file: pathlib.Path, known: Iterable[str]) -> str:
    """Returns the one of the `known` suffixes that a file has, in capitals too; "" for none."""
    return next((suffix for suffix in known if file.name.lower().endswith(suffix)), "")


def _kind(file: pathlib.Path) -> _Kind:
    if suffix := _suffix(file, _KINDS):
        return _KINDS[suffix]
    remedy = _REMEDIES.get(_suffix(file, _REMEDIES), "")
    raise WeightsError(
        f"{file} has a suffix that no reader of weights knows; known: {', '.join(_KINDS)}{remedy}"
    )
