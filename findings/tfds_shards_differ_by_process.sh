#!/usr/bin/env bash
# TFDS 4.9.10 writes other bytes in each process for one and the same dataset: a record is a tf.train.Example, whose
# features are a protobuf map, and protobuf's C library (upb) writes a map in an order of its own in every process.
# PYTHONHASHSEED does not settle it; PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python does. So the SHA-256 of a shard
# says nothing about its values: compare what is read.
# Seen on 2026-11-30 with array_record 0.8.6 and protobuf 7.36.2, five builds each: "upb: several shards, one set of
# values; python: one shard, one set of values".
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3.11 -m venv "$room/venv"
"$room/venv/bin/pip" install -q tensorflow-datasets==4.9.10 array_record==0.8.6 protobuf==7.36.2 numpy==2.4.6
cat > "$room/build.py" << 'PROGRAM'
import hashlib
import pathlib
import sys
import tempfile

import numpy as np
import tensorflow_datasets as tfds

KEYS = "image label position heading time place".split()


class Numbers(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({key: np.int64 for key in KEYS})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(8):
            yield number, {key: number for key in KEYS}


with tempfile.TemporaryDirectory() as folder:
    builder = Numbers(data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    (shard,) = pathlib.Path(folder).rglob("*.array_record*")
    source = builder.as_data_source("train")
    values = [[int(source[i][key]) for key in KEYS] for i in range(len(source))]
    for written in (shard.read_bytes(), repr(values).encode()):
        print(hashlib.sha256(written).hexdigest())
PROGRAM
count() { # of different lines
    n=$(sort -u | wc -l)
    [ "$n" = 1 ] && echo one || echo several
}
found=""
for kind in upb python; do
    for number in 1 2 3 4 5; do
        PYTHONHASHSEED=0 PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=$kind "$room/venv/bin/python" "$room/build.py" \
            2> "$room/log" | tail -n 2 > "$room/$kind-$number"
    done
    shards=$(head -qn 1 "$room/$kind"-? | count) values=$(tail -qn 1 "$room/$kind"-? | count)
    found+="${found:+; }$kind: $shards shard$([ "$shards" = one ] || echo s), $values set of values"
done
echo "TFDS 4.9.10: $found"
[ "$found" = "upb: several shards, one set of values; python: one shard, one set of values" ]
