"""Readers of weights files: safetensors, PyTorch state dicts, Keras HDF5 and NumPy archives.

Every reader treats a file as hostile: it runs none of its code and allocates no more than a limit.
"""

import hashlib
import io
import pathlib
import pickle
import pickletools
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import h5py
import numpy as np
import safetensors.numpy

from vprjax.errors import WeightsError

# Bytes of all arrays of a file. VGG16 with its classifier takes half; a small file can claim any number.
LARGEST = 1 << 30
# Bytes of a state dict's pickle without its tensors, and of a text in it; ResNet50 takes 38,217 and 41.
LARGEST_PICKLE, LONGEST_TEXT = 1 << 20, 200


def source(file: pathlib.Path) -> str:
    """Returns the family of a file by its suffix.

    Raises:
      WeightsError: the suffix is unknown.
    """
    return _kind(file).source


def read(file: pathlib.Path, backbone: str) -> dict[str, np.ndarray]:
    """Reads a file's arrays by name, as it stores them; only the error names `backbone`.

    Raises:
      WeightsError: the suffix is unknown, or the file unreadable or hostile.
    """
    reader = _kind(file).read
    try:
        return reader(file)
    except WeightsError:
        raise
    except Exception as e:  # a damaged file makes a reader raise anything
        cause = str(e).strip().partition("\n")[0] or type(e).__name__
        raise WeightsError(
            f"{file} is truncated, corrupt or of another format; expected weights of backbone "
            f"{backbone} ({cause})"
        ) from e


def sha256(file: pathlib.Path) -> str:
    """Returns the SHA-256 of a file's bytes, hexadecimal."""
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _check_size(sizes: Iterable[int]) -> None:
    """Raises ValueError where a file's arrays claim more bytes than any weights have."""
    if sum(sizes) > LARGEST:
        raise ValueError(f"its arrays claim more than {LARGEST:,} bytes")


def _read_npz(file: pathlib.Path) -> dict[str, np.ndarray]:
    with file.open("rb") as f:
        arrays = np.load(f, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            raise ValueError("one bare array instead of an archive")
        _check_size(member.file_size for member in arrays.zip.infolist())
        return {name: arrays[name] for name in arrays.files}


def _read_safetensors(file: pathlib.Path) -> dict[str, np.ndarray]:
    _check_size([file.stat().st_size])  # the format claims no more than the file has
    return safetensors.numpy.load_file(file)


def _read_h5(file: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads Keras' legacy layout, `layer/.../kernel:0`; VGG16's own file has `layer/layer_W_1:0`."""
    arrays, sizes = {}, []
    with h5py.File(file) as f:
        root = f.get("model_weights", f)  # a whole saved model keeps its weights there
        for layer, group in root.items():

            def add(name, item, layer=layer):
                if isinstance(item, h5py.Dataset):
                    if item.file != f or item.external or item.is_virtual:
                        raise ValueError(f"{item.name} lies in another file")
                    sizes.append(item.nbytes)
                    _check_size(sizes)
                    name = name.rpartition("/")[2].removesuffix(":0").removeprefix(f"{layer}_")
                    name = re.sub(r"^W(_\d+)?$", "kernel", name)
                    name = re.sub(r"^b(_\d+)?$", "bias", name)
                    arrays[f"{layer}/{name}"] = item[()]

            if isinstance(group, h5py.Group):
                group.visititems(add)
    return arrays


def _read_torch(file: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a plain state dict of tensors; refuses anything else in the pickle and never runs it."""
    try:
        import torch
    except ImportError as e:
        raise WeightsError(
            f"{file} needs PyTorch to be read; install torch, or convert it to .safetensors"
        ) from e
    _check_pickle(file)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        raise ValueError(
            "refused: not a pickle of tensors only, so it could run code; save the state dict alone "
            "or convert it to .safetensors"
        ) from e
    plain = isinstance(state, Mapping) and all(torch.is_tensor(t) for t in state.values())
    if not plain or not all(isinstance(name, str) for name in state):
        raise ValueError("not a plain state dict of tensors")
    # An expanded tensor has more numbers than its storage.
    _check_size(4 * tensor.numel() for tensor in state.values())
    return {name: tensor.detach().float().numpy() for name, tensor in state.items()}


def _check_pickle(file: pathlib.Path) -> None:
    """Raises ValueError where a pickle's size or a long text in it is not a state dict's.

    PyTorch takes ten minutes to refuse a class whose name has 200,000 letters.
    """
    with file.open("rb") as f:
        start = f.read(LARGEST_PICKLE)
    pickles = 5  # magic number, protocol, system, the state dict and its storages' keys
    if start.startswith(b"PK\3\4"):  # PyTorch's own test for an archive
        with zipfile.ZipFile(file) as archive:
            _check_size(info.file_size for info in archive.infolist())
            found = [info for info in archive.infolist() if info.filename.endswith("data.pkl")]
            if len(found) != 1:
                raise ValueError(f"it holds {len(found)} state dicts instead of one")
            start, pickles = archive.open(found[0]).read(LARGEST_PICKLE), 1
    stream = io.BytesIO(start)
    for _ in range(pickles):
        for _, argument, _ in pickletools.genops(stream):
            if len(str(argument)) > LONGEST_TEXT:
                raise ValueError(f"its pickle holds a text of more than {LONGEST_TEXT} characters")


class _Kind(NamedTuple):
    source: str  # a key of `Backbone.sources`
    read: Callable[[pathlib.Path], dict[str, np.ndarray]]


_KINDS = {
    ".safetensors": _Kind("torch", _read_safetensors),
    ".pth": _Kind("torch", _read_torch),
    ".pt": _Kind("torch", _read_torch),
    ".h5": _Kind("keras", _read_h5),
    ".npz": _Kind("keras", _read_npz),
}
SUFFIXES = tuple(_KINDS)


def _kind(file: pathlib.Path) -> _Kind:
    if file.suffix not in _KINDS:
        known = ", ".join(SUFFIXES)
        raise WeightsError(f"{file} has a suffix that no reader of weights knows; known: {known}")
    return _KINDS[file.suffix]
