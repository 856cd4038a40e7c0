"""Files of Caffe and OverFeat: a NetParameter written by Google's protobuf, and raw numbers.

The numbers of the fields are those of Caffe's caffe.proto.
"""

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
# Message -> field -> (number, type, whether it repeats, the message that it holds).
_MESSAGES = {
    "Shape": {"dim": (1, _FIELD.TYPE_INT64, True, "")},
    "Blob": {
        **{
            side: (i, _FIELD.TYPE_INT32, False, "")
            for i, side in enumerate(("num", "channels", "height", "width"), 1)
        },
        "data": (5, _FIELD.TYPE_FLOAT, True, ""),
        "diff": (6, _FIELD.TYPE_FLOAT, True, ""),
        "shape": (7, _FIELD.TYPE_MESSAGE, False, "Shape"),
        "double_data": (8, _FIELD.TYPE_DOUBLE, True, ""),
    },
    "Layer": {
        "name": (1, _FIELD.TYPE_STRING, False, ""),
        "type": (2, _FIELD.TYPE_STRING, False, ""),
        "bottom": (3, _FIELD.TYPE_STRING, True, ""),
        "blobs": (7, _FIELD.TYPE_MESSAGE, True, "Blob"),
    },
    "OldLayer": {
        "bottom": (2, _FIELD.TYPE_STRING, True, ""),
        "name": (4, _FIELD.TYPE_STRING, False, ""),
        "type": (5, _FIELD.TYPE_INT32, False, ""),
        "blobs": (6, _FIELD.TYPE_MESSAGE, True, "Blob"),
    },
    "Net": {
        "name": (1, _FIELD.TYPE_STRING, False, ""),
        "layers": (2, _FIELD.TYPE_MESSAGE, True, "OldLayer"),
        "input": (3, _FIELD.TYPE_STRING, True, ""),
        "layer": (100, _FIELD.TYPE_MESSAGE, True, "Layer"),
    },
}


def _classes():
    file = descriptor_pb2.FileDescriptorProto(name="caffe_of_tests.proto", package="caffe_of_tests")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeats, of) in fields.items():
            label = _FIELD.LABEL_REPEATED if repeats else _FIELD.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if of:
                added.type_name = f".caffe_of_tests.{of}"
            if repeats and kind in (_FIELD.TYPE_FLOAT, _FIELD.TYPE_DOUBLE, _FIELD.TYPE_INT64):
                added.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = (pool.FindMessageTypeByName(f"caffe_of_tests.{name}") for name in _MESSAGES)
    return dict(zip(_MESSAGES, map(message_factory.GetMessageClass, found), strict=True))


CLASSES = _classes()


def caffemodel(layers, old=False, doubles=False):
    """The bytes of a `.caffemodel`: name -> the layer's arrays, in order; () for a layer without any.

    `old` writes V1LayerParameter and sides in place of a shape; `doubles` writes float64.
    """
    net = CLASSES["Net"](name="of tests", input=["data"])
    for name, arrays in layers.items():
        layer = (net.layers if old else net.layer).add(name=name, bottom=["data"])
        layer.type = 4 if old else "Convolution"
        for array in arrays:
            blob = layer.blobs.add()
            getattr(blob, "double_data" if doubles else "data").extend(array.ravel().tolist())
            if old:
                sides = (1,) * (4 - array.ndim) + array.shape
                blob.num, blob.channels, blob.height, blob.width = sides
            else:
                blob.shape.dim.extend(array.shape)
    return net.SerializeToString()


def layers_of(state, between=()):
    """A state dict's arrays by layer, as `caffemodel` takes them.

    `between` names layers without arrays, which stand behind conv1.
    """
    found = {}
    for name in state:
        layer = name.rpartition(".")[0]
        leaves = (state.get(f"{layer}.{leaf}") for leaf in ("weight", "bias"))
        found[layer] = [np.asarray(array) for array in leaves if array is not None]
        if layer == "conv1":
            found |= {name: [] for name in between}
    return found
