"""Writes a head of two layers as a LiteRT graph, with as many outputs as there are labels, without tensorflow.

What it computes is what `training.head_weights` does: `embedding * mask_0`, a hidden layer with the exact GELU times
`mask_1`, logits. The graph is put together by LiteRT's own schema: tensorflow takes five seconds and 0.7 GB to say the
same five operations.
"""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from training.head_weights import Array, HeadWeights, read_head

_IDENTIFIER = b"TFL3"
_SIGNATURE = "serving_default"


def write_lite_head(weights: HeadWeights, file: Path) -> HeadWeights:
    """Write a head; gives the weights as the file has them, which are the same numbers.

    Raises
    ------
    RetrainingError
        The file written does not compute what the weights do.
    """
    n_dims, width, n_labels = weights.shape
    graph = _Graph()
    embedding, mask_0 = graph.add("embedding", n_dims), graph.add("mask_0", n_dims)
    mask_1 = graph.add("mask_1", width)
    kept, before, hidden, dropped, logits = (
        graph.add(name, size)
        for name, size in (
            *(("kept", n_dims), ("before", width), ("hidden", width)),
            *(("dropped", width), ("logits", n_labels)),
        )
    )
    hidden_kernel, hidden_bias, logits_kernel, logits_bias = (
        graph.add_weights(name, getattr(weights, name)) for name in HeadWeights.__dataclass_fields__
    )
    operators = schema.BuiltinOperator
    graph.apply(operators.MUL, [embedding, mask_0], kept)
    graph.apply(operators.FULLY_CONNECTED, [kept, hidden_kernel, hidden_bias], before)
    graph.apply(operators.GELU, [before], hidden)
    graph.apply(operators.MUL, [hidden, mask_1], dropped)
    graph.apply(operators.FULLY_CONNECTED, [dropped, logits_kernel, logits_bias], logits)
    packed = graph.pack(inputs=[embedding, mask_0, mask_1], outputs=[logits])
    partial = file.with_name(f"{file.name}.part")
    partial.write_bytes(packed)
    written = read_head(partial)
    partial.replace(file)
    return written


class _Graph:
    """A model of one graph, grown one tensor and one operation at a time."""

    def __init__(self) -> None:
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.description = "Telepathy: a head of two layers with dropout masks as inputs"
        self._model.buffers = [schema.BufferT()]
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.name = "main"
        self._graph.tensors = []
        self._graph.operators = []
        self._codes: list[int] = []

    def add(self, name: str, size: int) -> int:
        """A tensor (any number of clips, size); gives its number."""
        return self._tensor(name, shape=[1, size], signature=[-1, size], buffer=0)

    def add_weights(self, name: str, values: Array) -> int:
        """Weights of a fully connected layer, which wants kernels as (outputs, inputs)."""
        stored = np.ascontiguousarray(values.T if values.ndim == 2 else values, dtype=np.float32)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(stored.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        return self._tensor(name, shape=list(stored.shape), signature=None, buffer=len(self._model.buffers) - 1)

    def apply(self, operator: int, inputs: list[int], output: int) -> None:
        """One operation."""
        if operator not in self._codes:
            code = schema.OperatorCodeT()
            # Readers of before 2020 look at the first field, which ends at 127.
            code.deprecatedBuiltinCode, code.builtinCode, code.version = min(operator, 127), operator, 1
            self._codes.append(operator)
            self._model.operatorCodes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex = self._codes.index(operator)
        made.inputs, made.outputs = inputs, [output]
        kind, options = {
            schema.BuiltinOperator.MUL: (schema.BuiltinOptions.MulOptions, schema.MulOptionsT()),
            schema.BuiltinOperator.FULLY_CONNECTED: (
                schema.BuiltinOptions.FullyConnectedOptions,
                schema.FullyConnectedOptionsT(),
            ),
            schema.BuiltinOperator.GELU: (schema.BuiltinOptions.GeluOptions, schema.GeluOptionsT()),
        }[operator]
        made.builtinOptionsType, made.builtinOptions = kind, options
        self._graph.operators.append(made)

    def pack(self, *, inputs: list[int], outputs: list[int]) -> bytes:
        """The file, with one signature whose names are those of the tensors."""
        self._graph.inputs, self._graph.outputs = inputs, outputs
        self._model.subgraphs = [self._graph]
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = _SIGNATURE, 0
        signature.inputs = [self._named(number) for number in inputs]
        signature.outputs = [self._named(number) for number in outputs]
        self._model.signatureDefs = [signature]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self._model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

    def _named(self, number: int) -> schema.TensorMapT:
        named = schema.TensorMapT()
        named.name, named.tensorIndex = self._graph.tensors[number].name, number
        return named

    def _tensor(self, name: str, *, shape: list[int], signature: list[int] | None, buffer: int) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.buffer = name, schema.TensorType.FLOAT32, buffer
        tensor.shape, tensor.shapeSignature = shape, signature
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1
