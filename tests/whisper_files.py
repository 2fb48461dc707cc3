"""Files like those that hold Whisper's weights, made small: random numbers under the published names."""

from __future__ import annotations

import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np


def random_weights(*, width: int = 64, n_blocks: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """float16 weights of an encoder with the published names and shapes, `width` wide."""
    generator = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "conv1.weight": (width, 80, 3),
        "conv1.bias": (width,),
        "conv2.weight": (width, width, 3),
        "conv2.bias": (width,),
        "positional_embedding": (1500, width),
        "ln_post.weight": (width,),
    }
    for number in range(n_blocks):
        block = f"blocks.{number}."
        for part in ("query", "value", "out", "key"):
            shapes[f"{block}attn.{part}.weight"] = (width, width)
            if part != "key":
                shapes[f"{block}attn.{part}.bias"] = (width,)
        for part in ("attn_ln", "mlp_ln"):
            shapes |= {f"{block}{part}.weight": (width,), f"{block}{part}.bias": (width,)}
        shapes |= {f"{block}mlp.0.weight": (4 * width, width), f"{block}mlp.0.bias": (4 * width,)}
        shapes |= {f"{block}mlp.2.weight": (width, 4 * width), f"{block}mlp.2.bias": (width,)}
    return {name: generator.normal(0, 0.1, shape).astype(np.float16) for name, shape in shapes.items()}


def write_pt(path: Path, weights: dict[str, np.ndarray], monkeypatch, *, extra: object = None) -> None:
    """`weights` as PyTorch would save Whisper's checkpoint; `extra` goes into the pickle as it is."""
    torch, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")
    storage_kind = type("HalfStorage", (), {"__module__": "torch"})
    torch.HalfStorage = storage_kind

    def _rebuild_tensor_v2() -> None:
        """Only its name is pickled."""

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    inner._rebuild_tensor_v2 = _rebuild_tensor_v2

    class Storage:
        def __init__(self, key: str, n_values: int) -> None:
            self.key, self.n_values = key, n_values

    class Tensor:
        def __init__(self, key: str, values: np.ndarray) -> None:
            self.storage, self.values = Storage(key, values.size), values

        def __reduce__(self):
            stride = tuple(step // self.values.itemsize for step in self.values.strides)
            return _rebuild_tensor_v2, (self.storage, 0, self.values.shape, stride, False, {})

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, Storage):
                return ("storage", storage_kind, obj.key, "cpu", obj.n_values)
            return None

    named = {f"encoder.{name}": values for name, values in weights.items()}
    with monkeypatch.context() as patched, zipfile.ZipFile(path, "w") as archive:
        patched.setitem(sys.modules, "torch", torch)
        patched.setitem(sys.modules, "torch._utils", inner)
        tensors = {name: Tensor(str(number), values) for number, (name, values) in enumerate(named.items())}
        content = {"dims": {"n_mels": 80}, "model_state_dict": tensors, "extra": extra}
        with archive.open("archive/data.pkl", "w") as stream:
            Pickler(stream, protocol=2).dump(content)
        for number, values in enumerate(named.values()):
            archive.writestr(f"archive/data/{number}", values.tobytes())
