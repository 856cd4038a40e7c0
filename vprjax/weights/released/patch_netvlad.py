"""Patch-NetVLAD (Hausler et al. 2021): its global descriptor, NetVLAD behind a whitening PCA."""

from vprjax.weights.released import pytorch_netvlad, vgg16_netvlad
from vprjax.weights.released.variant import Family, Release

_NAMES = pytorch_netvlad.NAMES


def _recognise(names: frozenset[str]) -> bool:
    return {"encoder.0.weight", "pool.centroids"} <= names and any(
        name.startswith("WPCA.") for name in names
    )


FAMILY = Family(
    title="Patch-NetVLAD",
    reference="Hausler et al.: Patch-NetVLAD, Multi-Scale Fusion of Locally-Global Descriptors for Place "
    "Recognition, CVPR 2021",
    licence="MIT",
    releases={
        f"patch_netvlad_{data}_{d}": Release(
            f"{data}_WPCA{d}.pth.tar",
            d,
            vgg16_netvlad.parameters(d),
            vgg16_netvlad.model(projection=d),
        )
        for data in ("mapillary", "pitts")
        for d in (128, 512, 4096)
    },
    recognise=_recognise,
    config=_NAMES.config,
    name=_NAMES,
    prepare=_NAMES.prepare,
    form=vgg16_netvlad.STRETCHED,
    input_rule="stretched to 480 x 640, bilinear, with antialias",
)
