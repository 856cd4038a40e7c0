"""The original NetVLAD (Arandjelovic et al. 2016) as hloc takes it: MatConvNet's `net` in a `.mat` file."""

from vprjax.models.backbones.variant import Path, Scaling
from vprjax.weights.released import vgg16_netvlad
from vprjax.weights.released.cosplace import VGG16
from vprjax.weights.released.variant import Arrays, Family, Release

_MEAN = "net.meta.normalization.averageImage"
_POOL, _WHITENING = "net.layers.30.weights", "net.layers.33.weights"
_BIASES = "net.layers.30.biases"  # the file has none


def _name(path: Path) -> str:
    """Returns the name of a variable's array."""
    number = {"kernel": 0, "bias": 1}.get(path[-1])
    if path[1] == "backbone":
        return f"net.layers.{VGG16[path[2]]}.weights.{number}"
    if path[1] == "projection":
        return f"{_WHITENING}.{number}"
    return {"weights": f"{_POOL}.0", "biases": _BIASES, "centers": f"{_POOL}.1"}[path[-1]]


def _prepare(arrays: Arrays) -> Arrays:
    """Brings MatConvNet's layouts to PyTorch's, and centres and whitening to our NetVLAD's.

    The file has minus the centres, `(d, k)`, and whitens a descriptor that lists channels first.
    """
    out = dict(arrays)
    for name, array in arrays.items():
        if name.endswith("weights.0") and array.ndim == 4:
            out[name] = array.transpose(3, 2, 0, 1)
    out[f"{_POOL}.0"], centers = arrays[f"{_POOL}.0"].T, arrays[f"{_POOL}.1"].T
    out[f"{_POOL}.1"] = -centers
    out[_BIASES] = vgg16_netvlad.zeros(centers)
    whitening = arrays.get(f"{_WHITENING}.0")
    if whitening is not None and whitening.shape[:1] == (centers.size,):
        rows = whitening.T.reshape(-1, *centers.shape[::-1])  # (dimension, d, k)
        out[f"{_WHITENING}.0"] = rows.swapaxes(1, 2).reshape(len(rows), -1)
    mean = arrays.get(_MEAN)
    if mean is not None and (mean.ndim not in (1, 3) or mean.shape[-1] != 3):
        del out[_MEAN]  # of a grey image
    return out


def _config(arrays: Arrays) -> dict:
    bias = arrays.get(f"{_WHITENING}.1", vgg16_netvlad.NO_BIAS)
    keys = vgg16_netvlad.model(vgg16_netvlad.rows(arrays[f"{_POOL}.1"]), bias.size)
    # Without whitening the order of the original's descriptor is seen.
    return keys if bias.size else {**keys, "netvlad.order": "channels"}


def _preprocess(arrays: Arrays) -> Scaling:
    """Returns the mean of the average image's first pixel, on the 0..255 scale, RGB."""
    mean = arrays[_MEAN].reshape(-1)[:3]
    return {"mean": tuple(map(float, mean)), "std": (1.0, 1.0, 1.0)}


FAMILY = Family(
    title="NetVLAD (hloc)",
    reference="Arandjelovic et al.: NetVLAD, CNN Architecture for Weakly Supervised Place Recognition, "
    "CVPR 2016",
    licence="MIT",
    releases={
        f"netvlad_{data.lower()}_4096": Release(
            f"{data}_struct.mat",
            4096,
            vgg16_netvlad.parameters(4096),
            vgg16_netvlad.model(projection=4096),
        )
        for data in ("Pitts30K", "TokyoTM")
    },
    recognise=lambda names: {"net.layers.0.weights.0", f"{_POOL}.0", f"{_POOL}.1"} <= names,
    config=_config,
    name=_name,
    prepare=_prepare,
    unused=r"net\.(layers\.\d+\.(?!weights\.).*|(?!layers\.).*)",
    form=vgg16_netvlad.FORM,
    input_rule="native size, above 1024 pixels a side shrunk by area",
    preprocess=_preprocess,
    scaling=(_MEAN,),
)
