"""Pretrained weights: torchvision, timm and Keras files -> variables, with a strict key report.

    loaded = load("resnet50.safetensors", "resnet50")
    variables = insert(variables, loaded)

Where a file comes from decides its preprocessing, which travels with the weights (collection
"preprocess"): torchvision and timm names mean RGB with mean and standard deviation; Keras' VGG16
and ResNet50 mean BGR minus the Caffe means, turned to RGB here by flipping the first kernel's
input channels; Keras' MobileNetV2 means x / 127.5 - 1.
"""

import hashlib
import io
import pathlib
import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterable, Mapping

import h5py
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from absl import logging
from flax import traverse_util

from vprjax import models
from vprjax.errors import WeightsError
from vprjax.models.names import Path, convert, names_and_shapes
from vprjax.weights import preprocess

TORCH_SUFFIXES = (".safetensors", ".pth", ".pt")
KERAS_SUFFIXES = (".h5", ".npz")
HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>.*))?")
COMMIT = re.compile("[0-9a-f]{7,40}")
HUB_FILE = "model.safetensors"

# Bytes of all arrays of a file: VGG16 with its classifier has half of them. A few kilobytes can claim any.
LARGEST = 1 << 30
# Bytes of a state dict's pickle, its tensors apart, and of a text in it; a ResNet50's have 38,217 and 41.
LARGEST_PICKLE, LONGEST_TEXT = 1 << 20, 200
# Why a source has no weights for a backbone.
UNFIT = {
    ("torch", "resnet50_v1"): "torchvision and timm have v1.5; use backbone resnet50",
    ("torch", "mobilenetv2"): "torchvision's and timm's MobileNetV2 pads stride-2 convolutions "
    "differently; only Keras weights (.h5, .npz) fit",
    ("keras", "resnet50"): "Keras has v1; use backbone resnet50_v1",
}
# Classifier heads and counters that every source carries and no descriptor needs.
HEADS = re.compile(
    r"classifier\.\d+\.(weight|bias)|fc\.(weight|bias)|pre_logits\.fc[12]\.(weight|bias)"
    r"|head\.fc\.(weight|bias)|.*\.num_batches_tracked"
    r"|(fc1|fc2|predictions|probs|fc1000|Logits)/(kernel|bias)"
)


def load(path: str, backbone: str, partial: bool = False) -> dict:
    """Reads weights of a whole backbone, as NumPy arrays.

    Returns `{"params": ..., "batch_stats": ..., "preprocess": {"mean": (3,), "std": (3,)}}`, the
    trees *without* the level "backbone": `models.backbone(name)` applies them as they are, `insert`
    places them into a descriptor. With `partial` only the layers in the file are returned.

    `path`: `.safetensors`, `.pth` or `.pt` with torchvision or timm names; Keras `.h5`; `.npz` with
    Keras names; or a Hugging Face hub id with its revision, `timm/resnet50.tv_in1k@<commit>`.

    Raises WeightsError: unreadable file, other backbone, or a list of all missing, extra,
    mis-shaped and non-finite arrays. Missing ones are no error with `partial`.
    """
    if backbone not in models.BACKBONES:
        raise WeightsError(
            f"backbone {backbone!r} is not known; known: {', '.join(models.BACKBONES)}"
        )
    file = resolve(path)
    source = _source(file)
    if (source, backbone) in UNFIT:
        raise WeightsError(f"{file} cannot load into {backbone}: {UNFIT[source, backbone]}")
    arrays = _read(file, backbone)
    _check_keys(file, backbone, source, arrays, partial)
    names = names_and_shapes(backbone, source)
    flat = {p: convert(p, arrays[n], source) for p, (n, _) in names.items() if n in arrays}
    if source == "keras" and backbone != "mobilenetv2":  # BGR -> RGB
        first = next(p for p in names if p[-1] == "kernel")
        if first in flat:
            flat[first] = flat[first][:, :, ::-1, :]
    scaled = preprocess.of(source, backbone, arrays)
    statistics = {("preprocess", k): np.array(v, np.float32) for k, v in scaled.items()}
    return traverse_util.unflatten_dict(flat | statistics)


def insert(variables: Mapping, loaded: Mapping, partial: bool = False) -> dict:
    """Places `load`'s trees into a descriptor's initialised variables; types stay the variables'.

    The model may be cut at a stage: weights of later layers are ignored. Layers that `loaded` lacks
    raise WeightsError, or with `partial` keep their start values and are listed in the log.
    """
    gaps = missing(variables, loaded)
    if gaps and not partial:
        raise WeightsError(
            f"the weights lack {len(gaps)} arrays of the backbone (model.partial_weights=True "
            f"starts these from random values): {', '.join(gaps)}"
        )
    if gaps:
        logging.warning("%d arrays stay as initialised: %s", len(gaps), ", ".join(gaps))
    flat = traverse_util.flatten_dict(variables)
    new = traverse_util.flatten_dict(loaded)
    for path, old in flat.items():
        array = new.get(_inner(path))
        if array is not None:
            if array.shape != old.shape:
                raise WeightsError(
                    f"{'/'.join(path)} is {old.shape} in the model but {array.shape} in the "
                    "weights; they belong to another backbone"
                )
            flat[path] = jnp.asarray(array, old.dtype)
    return traverse_util.unflatten_dict(flat)


def missing(variables: Mapping, loaded: Mapping) -> tuple[str, ...]:
    """Names the backbone arrays of `variables` that `loaded` lacks: `"params/conv5_1/kernel"`."""
    inner = (_inner(path) for path in traverse_util.flatten_dict(variables))
    new = traverse_util.flatten_dict(loaded)
    return tuple("/".join(path) for path in inner if path and path not in new)


def fingerprint(path: str) -> str:
    """The sha256 of a weights file, hexadecimal: the weights' id in every result."""
    return _sha256(resolve(path))


def _sha256(file: pathlib.Path) -> str:
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def resolve(path: str) -> pathlib.Path:
    """The local file of a path, or of a hub id `owner/name@revision`, downloaded if need be."""
    file = pathlib.Path(path).expanduser()
    if file.is_file():
        return file
    match = HUB_ID.fullmatch(str(path))
    if not match or file.suffix in TORCH_SUFFIXES + KERAS_SUFFIXES:
        raise WeightsError(f"weights file {path} does not exist")
    if not COMMIT.fullmatch(match["revision"] or ""):
        raise WeightsError(
            f"weights {path} are no file here, and a hub id needs its revision, so that a run can be "
            f"repeated, as a hash, not a branch's or tag's name: {match['repo']}@<commit hash>"
        )
    return _download(match["repo"], match["revision"])


def _download(repo: str, revision: str) -> pathlib.Path:
    by_hand = f"download {HUB_FILE} of {repo} by hand and pass the file"
    try:
        import huggingface_hub
    except ImportError as e:
        raise WeightsError(
            f"a hub id needs huggingface_hub (pip install 'vprjax[hub]'); or {by_hand}"
        ) from e
    try:
        file = pathlib.Path(huggingface_hub.hf_hub_download(repo, HUB_FILE, revision=revision))
    except Exception as e:  # offline, unknown repository or revision: one family of causes each
        cause = str(e).partition("\n")[0]
        raise WeightsError(f"cannot fetch {repo}@{revision} ({cause}); {by_hand}") from e
    # The hub's cache keeps a large file under the SHA-256 that the hub reported for it.
    blob = file.resolve()
    if not re.fullmatch(r"[0-9a-f]{64}", blob.name):
        raise WeightsError(
            f"{file} cannot be checked: the cache does not say which SHA-256 the hub reported; {by_hand}"
        )
    if _sha256(blob) != blob.name:
        raise WeightsError(
            f"{file} is damaged: its SHA-256 is not the {blob.name} that the hub reported; delete {blob}"
        )
    return file


def _source(file: pathlib.Path) -> str:
    if file.suffix in TORCH_SUFFIXES:
        return "torch"
    if file.suffix in KERAS_SUFFIXES:
        return "keras"
    known = ", ".join(TORCH_SUFFIXES + KERAS_SUFFIXES)
    raise WeightsError(f"{file} is no kind of weights file that can be read; known: {known}")


def _read(file: pathlib.Path, backbone: str) -> dict[str, np.ndarray]:
    readers = {".safetensors": _read_safetensors, ".h5": _read_h5, ".npz": _read_npz}
    try:
        return readers.get(file.suffix, _read_torch)(file)
    except WeightsError:
        raise
    except Exception as e:  # the readers raise whatever a damaged file leads to
        cause = str(e).strip().partition("\n")[0] or type(e).__name__
        raise WeightsError(
            f"{file} is truncated, corrupt or of another format; expected weights of backbone "
            f"{backbone} ({cause})"
        ) from e


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


def _check_size(sizes: Iterable[int]) -> None:
    """Raises ValueError where the arrays of a file claim more bytes than any weights have."""
    if sum(sizes) > LARGEST:
        raise ValueError(f"its arrays claim more than {LARGEST:,} bytes")


def _read_h5(file: pathlib.Path) -> dict[str, np.ndarray]:
    """Keras' legacy layout, `layer/.../kernel:0`; VGG16's own file has `layer/layer_W_1:0`."""
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
    """A plain state dict of tensors; anything else in the pickle is refused, never run."""
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
    _check_size(
        4 * tensor.numel() for tensor in state.values()
    )  # more than its storage, if expanded
    return {name: tensor.detach().float().numpy() for name, tensor in state.items()}


def _check_pickle(file: pathlib.Path) -> None:
    """Raises ValueError where a pickle is no state dict's by its size or holds a text of great length.

    PyTorch would search the sentence that refuses a class of 200,000 letters for ten minutes.
    """
    with file.open("rb") as f:
        start = f.read(LARGEST_PICKLE)
    pickles = 5  # magic number, protocol, system, the state dict and its storages' keys
    if start.startswith(b"PK\3\4"):  # as PyTorch tells them apart
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


def _check_keys(
    file: pathlib.Path, backbone: str, source: str, arrays: Mapping[str, np.ndarray], partial: bool
) -> None:
    """Raises one WeightsError that lists every array that does not fit."""
    expected = dict(names_and_shapes(backbone, source).values())
    if not expected.keys() & arrays.keys():
        others = [b for b in preprocess.OF[source] if b != backbone]
        fits = [b for b in others if _holds(arrays, b, source)]
        hint = f"; they are of {fits[0]}" if fits else ""
        raise WeightsError(
            f"{file} holds no weights of backbone {backbone}: none of its {len(arrays)} arrays has "
            f"one of its names{hint}"
        )
    problems = {
        "missing": [] if partial else [n for n in expected if n not in arrays],
        "extra": [n for n in arrays if n not in expected and not HEADS.fullmatch(n)],
        "mis-shaped": [
            f"{n} {arrays[n].shape} instead of {shape}"
            for n, shape in expected.items()
            if n in arrays and arrays[n].shape != shape
        ],
        "not numbers": [n for n in expected if n in arrays and not _is_real(arrays[n])],
        "not finite": [
            n for n in expected if n in arrays and _is_real(arrays[n]) and not _fits(arrays[n])
        ],
    }
    lines = [f"  {kind} ({len(v)}): {', '.join(v)}" for kind, v in problems.items() if v]
    if lines:
        raise WeightsError(f"{file} does not fit backbone {backbone}:\n" + "\n".join(lines))


def _is_real(array: np.ndarray) -> bool:
    return any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer))


def _fits(array: np.ndarray) -> bool:
    """Whether every number is finite in float32."""
    with np.errstate(invalid="ignore"):  # a cast warns of some NaNs
        return bool((np.abs(array.astype(np.float64)) <= np.finfo(np.float32).max).all())


def _holds(arrays: Mapping[str, np.ndarray], backbone: str, source: str) -> bool:
    return all(name in arrays for name, _ in names_and_shapes(backbone, source).values())


def _inner(path: Path) -> Path:
    """A descriptor's variable path -> `load`'s path; () outside backbone and preprocess."""
    if path[0] == "preprocess":
        return path
    return (path[0], *path[2:]) if path[1] == "backbone" else ()
