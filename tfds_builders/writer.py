"""Writes one split in order, with bounded memory, no TensorFlow and the same bytes each time."""

from collections.abc import Sequence

import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer, file_adapters
from tensorflow_datasets.core.utils import shard_utils

from tfds_builders import digests
from tfds_builders.encoding import Chunks
from tfds_builders.frame import Frame
from tfds_builders.progress import Progress
from tfds_builders.schema import record

POSE_BYTES = (
    200  # about what a serialised record has besides its image; decides only the number of shards
)


def write_split(builder, name: str, frames: Sequence[Frame], chunks: Chunks) -> tfds.core.SplitInfo:
    """Writes the records of `frames` into TFDS's usual number of shards, and the digests of their images.

    Returns the split's info.
    """
    total = sum(size for size, _ in chunks.headers()) + POSE_BYTES * len(frames)
    shards = shard_utils.ShardConfig.calculate_number_shards(total, len(frames))
    ends = shard_utils.get_shard_boundaries(len(frames), shards)
    template = tfds.core.ShardedFileTemplate(
        dataset_name=builder.name,
        data_dir=builder.data_path,
        split=name,
        filetype_suffix=builder.info.file_format.file_suffix,
    )
    adapter = file_adapters.ADAPTER_FOR_FORMAT[builder.info.file_format]
    serializer = example_serializer.ExampleSerializer(builder.info.features.get_serialized_info())
    written = 0
    images, found = chunks.images(), []

    def examples(start: int, end: int):
        nonlocal written
        for key in range(start, end):
            image = next(images).data
            found.append(digests.digest(image))
            example = builder.info.features.encode_example(record(frames[key], image))
            # Without deterministic=True protobuf may write the fields in any order.
            data = serializer.get_tf_example(example).SerializeToString(deterministic=True)
            written += len(data)
            yield key, data

    starts = [0, *ends[:-1]]
    with Progress(len(frames), f"writing {name}") as progress:
        for shard, (start, end) in enumerate(zip(starts, ends, strict=True)):
            path = template.sharded_filepath(shard_index=shard, num_shards=shards)
            adapter.write_examples(path, examples(start, end))
            progress.add(end - start)
    digests.write(builder.data_path, name, found)
    lengths = [end - start for start, end in zip(starts, ends, strict=True)]
    return tfds.core.SplitInfo(
        name=name, shard_lengths=lengths, num_bytes=written, filename_template=template
    )
