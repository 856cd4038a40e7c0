"""A TensorFlow checkpoint as TensorFlow writes it: a sorted table of proto values, and the data.

The table's format is LevelDB's; keys share their beginnings within runs of `INTERVAL` entries.
"""

import struct

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

INTERVAL = 16
TYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "bfloat16": 14, "float16": 19}
_FIELD = descriptor_pb2.FieldDescriptorProto


def _classes():
    file = descriptor_pb2.FileDescriptorProto(
        name="bundle_of_tests.proto", package="bundle_of_tests"
    )
    fields = {
        "Dim": [("size", 1, _FIELD.TYPE_INT64, "")],
        "Shape": [("dim", 2, _FIELD.TYPE_MESSAGE, "Dim")],
        "Header": [
            ("num_shards", 1, _FIELD.TYPE_INT32, ""),
            ("endianness", 2, _FIELD.TYPE_INT32, ""),
        ],
        "Entry": [
            ("dtype", 1, _FIELD.TYPE_INT32, ""),
            ("shape", 2, _FIELD.TYPE_MESSAGE, "Shape"),
            ("shard_id", 3, _FIELD.TYPE_INT32, ""),
            ("offset", 4, _FIELD.TYPE_INT64, ""),
            ("size", 5, _FIELD.TYPE_INT64, ""),
            ("crc32c", 6, _FIELD.TYPE_FIXED32, ""),
        ],
    }
    for name, own in fields.items():
        message = file.message_type.add(name=name)
        for field, number, kind, of in own:
            repeats = field == "dim"
            label = _FIELD.LABEL_REPEATED if repeats else _FIELD.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if of:
                added.type_name = f".bundle_of_tests.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"bundle_of_tests.{name}"))
        for name in fields
    }


CLASSES = _classes()


def _varint(n):
    found = bytearray()
    while n > 127:
        found.append(n & 127 | 128)
        n >>= 7
    return bytes([*found, n])


def block(entries):
    out, restarts, before = bytearray(), [], b""
    for i, (key, value) in enumerate(entries):
        shared = 0
        if i % INTERVAL == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += _varint(shared) + _varint(len(key) - shared) + _varint(len(value))
        out += key[shared:] + value
        before = key
    restarts = restarts or [0]
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table(entries, per_block=40):
    """A sorted table of `(key, value)`, in blocks of so many entries."""
    out, index = bytearray(), []

    def add(block):
        handle = _varint(len(out)) + _varint(len(block))
        out.extend(block + b"\0" + b"\0\0\0\0")  # not compressed; its checksum is not read
        return handle

    entries = sorted(entries)
    for first in range(0, len(entries), per_block):
        part = entries[first : first + per_block]
        index.append((part[-1][0], add(block(part))))
    meta = add(block([]))
    footer = meta + add(block(index))
    out += footer + b"\0" * (40 - len(footer)) + struct.pack("<Q", 0xDB4775248B80FB57)
    return bytes(out)


def write(folder, arrays, name="variables", texts=()):
    """Writes arrays by name; returns the path of the index. `texts` are variables of DT_STRING."""
    folder.mkdir(parents=True, exist_ok=True)
    data, entries = bytearray(), [(b"", CLASSES["Header"](num_shards=1).SerializeToString())]
    for key, array in sorted(arrays.items()):
        array = np.asarray(array)
        entry = CLASSES["Entry"](
            dtype=TYPES[array.dtype.name], offset=len(data), size=array.nbytes, crc32c=7
        )
        for side in array.shape:
            entry.shape.dim.add(size=side)
        data += array.tobytes()
        entries.append((key.encode(), entry.SerializeToString()))
    for key in texts:
        entry = CLASSES["Entry"](dtype=7, offset=0, size=3)
        entries.append((key.encode(), entry.SerializeToString()))
    (folder / f"{name}.data-00000-of-00001").write_bytes(data)
    (folder / f"{name}.index").write_bytes(table(entries))
    return folder / f"{name}.index"
