"""What makes a converted ONNX graph quick and exact in onnxruntime, and free in its sides."""

import collections
import math

from vprjax.localize.exported import INPUT

CHANNELS_FIRST = [0, 3, 1, 2]
LONG = 4096  # numbers of a sum of squares, from which on it is taken in two steps


def join_clips(graph) -> None:
    """Replaces each `Min(Max(x, low), high)` with constant bounds by `Clip(x, low, high)`, its equal.

    The converter writes ReLU6 as the pair. onnxruntime computes a Clip inside the convolution before it,
    and leaves its own layout of channels for each Max and Min.
    """
    constants = {tensor.name for tensor in graph.graph.initializer}
    readers = collections.Counter(name for node in graph.graph.node for name in node.input)
    lower = {node.output[0]: node for node in graph.graph.node if _bounds(node, "Max", constants)}
    for node in [*graph.graph.node]:
        below = lower.get(node.input[0]) if _bounds(node, "Min", constants) else None
        if below is None or readers[below.output[0]] > 1:
            continue
        values = [*below.input, node.input[1]]
        node.op_type = "Clip"
        del node.input[:]
        node.input.extend(values)
        graph.graph.node.remove(below)


def _bounds(node, kind: str, constants: set[str]) -> bool:
    """Whether a node bounds its first input by a constant."""
    return node.op_type == kind and len(node.input) == 2 and node.input[1] in constants


def halve_long_sums(graph) -> None:
    """Sums the squares of a long last axis over parts of it, then over the parts.

    onnxruntime 1.32 adds the 131,072 squares of a NetVLAD descriptor one after the other: its length is off
    by 1e-5 (findings/onnxruntime_long_sum_of_squares.sh).
    """
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in graph.graph.initializer}
    sides = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in [*graph.graph.value_info, *graph.graph.input]
    }
    for node in [one for one in graph.graph.node if one.op_type == "ReduceSumSquare"]:
        shape, axes = sides.get(node.input[0], []), constants.get(node.input[1])
        last = axes is not None and numpy_helper.to_array(axes).tolist() in ([-1], [len(shape) - 1])
        parts = _parts(shape[-1]) if last and shape[-1] >= LONG else 1
        if parts == 1 or not all(a.i for a in node.attribute if a.name == "keepdims"):
            continue
        name, axis = node.output[0], f"{node.output[0]}_axis"
        cut = helper.make_tensor(
            f"{name}_cut", 7, [len(shape) + 1], [0] * (len(shape) - 1) + [parts, -1]
        )
        graph.graph.initializer.extend([cut, helper.make_tensor(axis, 7, [1], [-1])])
        steps = [
            helper.make_node("Reshape", [node.input[0], cut.name], [f"{name}_rows"]),
            helper.make_node(
                "ReduceSumSquare", [f"{name}_rows", axis], [f"{name}_parts"], keepdims=0
            ),
            helper.make_node("ReduceSum", [f"{name}_parts", axis], [name], keepdims=1),
        ]
        place = [*graph.graph.node].index(node)
        graph.graph.node.remove(node)
        for number, step in enumerate(steps):
            graph.graph.node.insert(place + number, step)
    _drop_unread(graph.graph)


def _parts(count: int) -> int:
    """The largest divisor up to the square root."""
    return next(parts for parts in range(math.isqrt(count), 0, -1) if count % parts == 0)


def turn_images_first(graph) -> None:
    """Moves the images' Transpose to channels first ahead of their normalisation.

    Its constants then hold for a whole plane each, where onnxruntime otherwise walks three numbers at a
    time. A graph that begins in another way stays as it is.
    """
    nodes = graph.graph.node
    constants = {tensor.name: tensor for tensor in graph.graph.initializer}
    chain, turn = [], _reader(nodes, INPUT)
    while turn is not None and _by_channel(turn, constants):
        chain.append(turn)
        turn = _reader(nodes, turn.output[0])
    if not chain or turn is None or turn.op_type != "Transpose":
        return
    if [*turn.attribute[0].ints] != CHANNELS_FIRST:
        return
    _turn_constants(graph.graph, chain, constants)
    stale = {node.output[0] for node in chain}  # shapes between the nodes
    for kept in [one for one in graph.graph.value_info if one.name in stale]:
        graph.graph.value_info.remove(kept)
    chain[-1].output[0], turn.output[0] = turn.output[0], f"{INPUT}_channels_first"
    chain[0].input[0], turn.input[0] = turn.output[0], INPUT
    first = type(turn).FromString(turn.SerializeToString())
    nodes.remove(turn)
    nodes.insert(0, first)


def _reader(nodes, name: str):
    """The one node that reads a value; None where several do."""
    found = [node for node in nodes if name in node.input]
    return found[0] if len(found) == 1 else None


def _by_channel(node, constants: dict) -> bool:
    """Whether a node computes each number by itself, with constants of a channel at most."""
    if node.op_type not in ("Cast", "Add", "Sub", "Mul", "Div"):
        return False
    named = [constants.get(name) for name in node.input[1:]]
    return all(one is not None and len(one.dims) <= 4 and {*one.dims[:-1]} <= {1} for one in named)


def _turn_constants(graph, chain: list, constants: dict) -> None:
    """Gives the nodes of `chain` their constants with channels first."""
    from onnx import numpy_helper

    for node in chain:
        for number, name in enumerate(node.input[1:], start=1):
            value = numpy_helper.to_array(constants[name])
            turned = value.reshape((1,) * (4 - value.ndim) + value.shape).transpose(CHANNELS_FIRST)
            node.input[number] = f"{node.output[0]}_{number}_channels_first"
            graph.initializer.append(numpy_helper.from_array(turned, node.input[number]))
    _drop_unread(graph)


def _drop_unread(graph) -> None:
    """Removes constants that no node reads."""
    read = {name for node in graph.node for name in node.input}
    for tensor in [one for one in graph.initializer if one.name not in read]:
        graph.initializer.remove(tensor)


def free_sides(graph) -> None:
    """Makes a graph for sides of multiples of 32 one for any sides.

    Of its layers only SAME convolutions of stride 2 depend on the sides: even ones are padded by (0, 1) and
    odd ones by (1, 1). ONNX's SAME_UPPER is the same rule.
    """
    from onnx import helper

    for node in graph.graph.node:
        at = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Conv" and [*at["strides"].ints] == [2, 2]:
            if [*at["pads"].ints] == [0, 0, 1, 1]:
                node.attribute.remove(at["pads"])
                node.attribute.append(helper.make_attribute("auto_pad", "SAME_UPPER"))
    del graph.graph.value_info[:]  # shapes between the layers, as multiples of 32
    for axis, name in zip(graph.graph.input[0].type.tensor_type.shape.dim[1:3], "hw", strict=True):
        axis.dim_param = name
