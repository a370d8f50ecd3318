"""Multiplications and additions: those of a graph, counted, and a product of matrices that stands for the peak."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf


def flops(graph: tf.Graph) -> int:
    """Multiplications and additions of the convolutions and matrix products that a function's results depend on.

    Counted from static shapes, 2 for each multiply-add, so forward and backward passes of every player as they are.

    Raises:
      ValueError: a shape is not static; the message names the operation.
    """
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    seen, total = set(), 0
    while waiting:
        op = waiting.pop()
        if op in seen:
            continue
        seen.add(op)
        waiting += [*(tensor.op for tensor in op.inputs), *op.control_inputs]
        if op.type in ("MatMul", "BatchMatMulV2"):
            transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
            result, inner = op.outputs[0].shape, op.inputs[0].shape[-2 if transposed else -1]
            work = [*result, inner]
        elif op.type in ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"):
            kernel = op.outputs[0] if op.type == "Conv2DBackpropFilter" else op.inputs[1]
            result = op.outputs[0] if op.type == "Conv2D" else op.inputs[2]
            work = [*result.shape, *kernel.shape[:3]]
        else:
            continue
        if None in work:
            raise ValueError(f"The work of {op.name} ({op.type}) cannot be counted: its shapes are not static.")
        total += 2 * math.prod(work)
    return total


def matmul(side: int, precision: str) -> tuple[Callable[[], tf.Tensor], int]:
    """(a product of two square matrices in a precision's compute type, its multiplications and additions)."""
    dtype = tf.as_dtype(precision.removeprefix("mixed_"))
    left, right = (tf.cast(tf.random.stateless_normal((side, side), (side, i)), dtype) for i in range(2))
    product = tf.function(lambda a, b: tf.matmul(a, b)[0, 0])
    return lambda: product(left, right), 2 * side**3
