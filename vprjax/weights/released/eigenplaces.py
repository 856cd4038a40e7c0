"""EigenPlaces (Berton et al. 2023): CosPlace's network and files, other weights."""

from vprjax.data.pictures import Form
from vprjax.weights.released import cosplace
from vprjax.weights.released.variant import Family

_DIMENSIONS = {
    "vgg16": (512,),
    "resnet18": (256, 512),
    "resnet50": (128, 256, 512, 1024, 2048),
    "resnet101": (128, 256, 512, 1024, 2048),
}

FAMILY = Family(
    title="EigenPlaces",
    reference="Berton et al.: EigenPlaces: Training Viewpoint Robust Models for Visual Place Recognition, "
    "ICCV 2023",
    licence="MIT",
    releases=cosplace.releases("eigenplaces", _DIMENSIONS),
    recognise=cosplace.recognise,
    config=cosplace.config,
    name=cosplace.name,
    form=Form(480, 640),
    input_rule="native size; no resize",
)
