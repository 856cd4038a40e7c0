"""OpenIBL's SFRS (Ge et al. 2020): VGG16 with NetVLAD and a whitening PCA."""

from vprjax.models.backbones.sources import CAFFE
from vprjax.weights.released import vgg16_netvlad
from vprjax.weights.released.variant import Family, Release

_NAMES = vgg16_netvlad.Names("base_model.base", "net_vlad", "pca_layer")

FAMILY = Family(
    title="SFRS (OpenIBL)",
    reference="Ge et al.: Self-supervising Fine-grained Region Similarities for Large-scale Image "
    "Localization, ECCV 2020",
    licence="MIT",
    releases={
        "sfrs_pitts30k_4096": Release(
            "vgg16_netvlad.pth",
            4096,
            vgg16_netvlad.parameters(4096),
            vgg16_netvlad.model(projection=4096),
        )
    },
    recognise=lambda names: {"base_model.base.0.weight", "net_vlad.centroids"} <= names,
    config=_NAMES.config,
    name=_NAMES,
    prepare=_NAMES.prepare,
    form=vgg16_netvlad.STRETCHED,
    input_rule="stretched to 480 x 640, bilinear, with antialias",
    preprocess=CAFFE,
)
