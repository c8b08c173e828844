"""A tiny package whose verdicts can be told by looking: red is unsafe, and so is a knife."""

from __future__ import annotations

import base64
import copy
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgesafe.runtime.golden import sample_pixels
from edgesafe.runtime.package import write_package
from edgesafe.runtime.preprocess import Preprocess

os.environ.setdefault("OMP_NUM_THREADS", "1")
# The backend of a test is ONNX Runtime, also where OpenVINO is installed.
os.environ["EDGESAFE_BACKEND_TRIAL"] = "0"

CURVATURE = 1.0
DIM = 8
PREPROCESS = Preprocess(16, 16, "stretch", "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "photo", "of", "dog", "knife", "and", "the"]
MAX_TOKENS = 12

# Columns of the embedding: red or knife, green or dog, blue, and a constant.
IMAGE_WEIGHT = np.zeros((3, DIM), np.float32)
IMAGE_WEIGHT[0, 0], IMAGE_WEIGHT[1, 1], IMAGE_WEIGHT[2, 2] = 1.0, 0.2, 0.2
BIAS = np.zeros(DIM, np.float32)
BIAS[3] = 0.1
TABLE = np.zeros((len(WORDS), DIM), np.float32)
TABLE[:, 3] = 0.1
TABLE[WORDS.index("knife"), 0] = 1.0
TABLE[WORDS.index("dog"), 1] = 0.2

Parts = tuple[dict[str, Any], dict[str, bytes]]


def image_model(
    *, nan_where_blue: bool = False, wrong_radius: float = 1.0, storage: str = "fp32"
) -> bytes:
    """Mean colour -> embedding and root distance, with faults and storages on demand."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "half"], ["scaled"]),
        helper.make_node("Add", ["scaled", "half"], ["colour"]),
        helper.make_node("MatMul", ["colour", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
    ]
    values: dict[str, Any] = {
        "axes": np.array([2, 3], np.int64),
        "half": np.array(0.5, np.float32),
        "bias": BIAS,
        "wrong": np.array(wrong_radius, np.float32),
    }
    if storage == "fp32":
        values["weight"] = IMAGE_WEIGHT
    elif storage == "fp16":
        values["stored"] = IMAGE_WEIGHT.astype(np.float16)
        nodes.insert(0, helper.make_node("Cast", ["stored"], ["weight"], to=TensorProto.FLOAT))
    else:
        values["stored"] = np.round(IMAGE_WEIGHT * 100).astype(np.int8)
        values["scale"] = np.full(DIM, 0.01, np.float32)
        nodes.insert(
            0, helper.make_node("DequantizeLinear", ["stored", "scale"], ["weight"], axis=1)
        )
    last = "sum"
    if nan_where_blue:
        values |= {
            "blue": np.array([2], np.int64),
            "limit": np.array(0.9, np.float32),
            "zero": np.array(0.0, np.float32),
        }
        nodes += [
            helper.make_node("Gather", ["colour", "blue"], ["blueness"], axis=1),
            helper.make_node("Sub", ["limit", "blueness"], ["room"]),
            helper.make_node("Sqrt", ["room"], ["root"]),
            helper.make_node("Mul", ["root", "zero"], ["nothing"]),
            helper.make_node("Add", ["sum", "nothing"], ["poisoned"]),
        ]
        last = "poisoned"
    return _model(nodes, last, values, {"pixels": ("float32", ["batch", 3, 16, 16])})


def text_model() -> bytes:
    """Largest word vector of the text -> embedding and root distance."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["words", "column"], ["masked"]),
        helper.make_node("ReduceMax", ["masked", "one"], ["sum"], keepdims=0),
    ]
    values = {
        "table": TABLE,
        "last": np.array([2], np.int64),
        "one": np.array([1], np.int64),
        "wrong": np.array(1.0, np.float32),
    }
    shape = ("int64", ["batch", "tokens"])
    return _model(nodes, "sum", values, {"input_ids": shape, "attention_mask": shape})


def _model(
    nodes: list[Any], last: str, values: dict[str, Any], inputs: dict[str, tuple[str, list[Any]]]
) -> bytes:
    from onnx import helper

    nodes = [
        *nodes,
        helper.make_node("Identity", [last], ["embedding"]),
        helper.make_node("ReduceL2", [last, "row"], ["norm"], keepdims=0),
        helper.make_node("Asinh", ["norm"], ["radius"]),
        helper.make_node("Mul", ["radius", "wrong"], ["root_distance"]),
    ]
    values = {**values, "row": np.array([1], np.int64)}
    return _graph(nodes, values, inputs, {"embedding": DIM, "root_distance": 0})


def _graph(
    nodes: list[Any],
    values: dict[str, Any],
    inputs: dict[str, tuple[str, list[Any]]],
    outputs: dict[str, int],
) -> bytes:
    """A model whose outputs have so many numbers a row, 0 for a plain number."""
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(n, kinds[k], shape) for n, (k, shape) in inputs.items()],
        [
            helper.make_tensor_value_info(
                n, TensorProto.FLOAT, ["batch", width] if width else ["batch"]
            )
            for n, width in outputs.items()
        ],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    return bytes(model.SerializeToString())


def flat_image_model() -> bytes:
    """Mean colour -> embedding of unit length."""
    from onnx import helper

    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "half"], ["scaled"]),
        helper.make_node("Add", ["scaled", "half"], ["colour"]),
        helper.make_node("MatMul", ["colour", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("LpNormalization", ["sum"], ["embedding"], axis=1),
    ]
    values = {
        "axes": np.array([2, 3], np.int64),
        "half": np.array(0.5, np.float32),
        "weight": IMAGE_WEIGHT,
        "bias": BIAS,
    }
    return _graph(nodes, values, {"pixels": ("float32", ["batch", 3, 16, 16])}, {"embedding": DIM})


def classifier_model(*, blue_first: bool = False) -> bytes:
    """Mean colour -> logits of green, red and blue; channels last on demand."""
    from onnx import helper

    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["scores"]),
    ]
    # Pixels arrive in -1..1; of the channels the model makes green, red, blue.
    weight = np.zeros((3, 3), np.float32)
    for label, channel in enumerate((1, 0, 2)):
        weight[2 - channel if blue_first else channel, label] = 3.0
    axes, shape = ([1, 2], [16, 16, 3]) if blue_first else ([2, 3], [3, 16, 16])
    values = {"axes": np.array(axes, np.int64), "weight": weight}
    return _graph(nodes, values, {"pixels": ("float32", ["batch", *shape])}, {"scores": 3})


def tokenizer_json() -> bytes:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    return tokenizer.to_str().encode()


def png(colour: tuple[int, ...], size: tuple[int, int] = (32, 24)) -> bytes:
    """A plain PNG file; four numbers make it transparent."""
    stream = io.BytesIO()
    Image.new("RGB" if len(colour) == 3 else "RGBA", size, colour).save(stream, "PNG")
    return stream.getvalue()


def _answer(embedding: Any) -> dict[str, Any]:
    return {
        "embedding": [float(value) for value in embedding],
        "root_distance": float(np.arcsinh(np.linalg.norm(embedding))),
    }


def _golden_image(answer: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """A picture of all colours; ``answer`` is given its mean colour in 0..1."""
    rgb = np.zeros((20, 30, 3), np.uint8)
    rgb[..., 0] = np.arange(30) * 8
    rgb[..., 1] = np.arange(20)[:, None] * 12
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    tensor = PREPROCESS(rgb)
    return {
        "png": base64.b64encode(stream.getvalue()).decode(),
        "pixels_sample": sample_pixels(tensor),
        **answer(tensor.mean(axis=(1, 2)) / 2 + 0.5),
    }


def _golden() -> bytes:
    image = _golden_image(lambda colour: _answer(colour @ IMAGE_WEIGHT + BIAS))
    ids = [2, 4, 5, 6, 4, 7, 3]
    text = {"text": "a photo of a dog", "input_ids": ids, **_answer(TABLE[ids].max(axis=0))}
    tolerances = {"pixels": 0.02, "embedding": 0.01, "root_distance": 0.001}
    return json.dumps({"tolerances": tolerances, "image": [image], "text": [text]}).encode()


def _flat_golden(answer: Callable[[Any], Any]) -> bytes:
    image = _golden_image(lambda colour: {"embedding": [float(v) for v in answer(colour)]})
    tolerances = {"pixels": 0.02, "embedding": 0.01}
    return json.dumps({"tolerances": tolerances, "image": [image], "text": []}).encode()


def _unit(vector: Any) -> Any:
    return vector / np.linalg.norm(vector)


def _concepts() -> bytes:
    def concept(name: str, tag: str, safe: bool, *values: float) -> dict[str, Any]:
        embedding = list(values) + [0.0] * (DIM - len(values))
        return {"name": name, "tag": tag, "safe": safe, "embedding": embedding}

    return json.dumps(
        {
            "concepts": [
                concept("dog", "animal", True, 0.0, 0.15),
                concept("knife", "weapon", False, 0.6),
                concept("blue", "colour", True, 0.0, 0.0, 0.15),
            ]
        }
    ).encode()


def _fields() -> dict[str, Any]:
    rate = {"value": 0.05, "interval": [0.01, 0.1], "n": 100}
    threshold = {
        "value": 0.5,
        "interval": [0.45, 0.55],
        "confidence": 0.95,
        "n": 100,
        "fpr": rate,
        "miss_rate": rate,
        "rule": "half way, for tests",
        "data_sha256": "0" * 64,
    }
    model = {"outputs": ["embedding", "root_distance"], "opset": 18, "precision": "fp32"}
    bounds = {"avg": 0.3, "low_05": 0.2, "up_95": 0.4}
    return {
        "kind": "moderation",
        "name": "tiny",
        "release": 1,
        "minimum_runtime": "0.1.0",
        "method": "hysac",
        "geometry": {"model": "lorentz", "curvature": CURVATURE, "dim": DIM, "min_radius": 0.1},
        "encoders": {
            "image": {
                "file": "image.onnx",
                "input": "pixels",
                "storage": "fp32",
                "preprocess": PREPROCESS.to_dict(),
                **model,
            },
            "text": {
                "file": "text.onnx",
                "inputs": ["input_ids", "attention_mask"],
                "storage": "fp32",
                "tokenizer": "tokenizer.json",
                "max_tokens": MAX_TOKENS,
                "pad_id": 0,
                "fixed_length": False,
                **model,
            },
        },
        "thresholds": {"image": threshold, "text": threshold},
        "bounds": {name: bounds for name in ("safe_text", "safe_image", "unsafe_text")},
        "concepts": {"file": "concepts.json"},
        "golden": {"file": "golden.json"},
        "parity": {"image": {"max_relative_error": 1e-6, "n": 8}},
        "weights": {"licence": "CC0-1.0", "origin": ["made by the tests"], "notice": ""},
        "intended_use": "tests",
        "limits": ["knows red and the word knife"],
        "training": {"anything": [1, {"goes": None}]},
    }


@pytest.fixture(scope="session")
def tiny_parts() -> Callable[[], Parts]:
    """Fresh copies of the manifest fields and the files of the tiny package."""
    fields = _fields()
    files = {
        "image.onnx": image_model(),
        "text.onnx": text_model(),
        "tokenizer.json": tokenizer_json(),
        "concepts.json": _concepts(),
        "golden.json": _golden(),
        "ATTRIBUTION.txt": b"nobody\n",
    }
    return lambda: (copy.deepcopy(fields), dict(files))


@pytest.fixture(scope="session")
def flat_parts(tiny_parts: Callable[[], Parts]) -> Callable[[], Parts]:
    """Parts of a package of the method safeclip: images only, with a probe for red."""

    def parts() -> Parts:
        fields, files = tiny_parts()
        fields |= {"name": "flat", "method": "safeclip", "probe": {"file": "probe.json"}}
        fields["geometry"] = {"model": "euclidean", "dim": DIM}
        fields["encoders"]["image"]["outputs"] = ["embedding"]
        for part in ("encoders", "thresholds"):
            del fields[part]["text"]
        fields["parity"] = {}
        del fields["bounds"]
        probe = {"weights": [2.0] + [0.0] * (DIM - 1), "bias": -1.0}
        golden = _flat_golden(lambda colour: _unit(colour @ IMAGE_WEIGHT + BIAS))
        return fields, {
            "image.onnx": flat_image_model(),
            "concepts.json": files["concepts.json"],
            "probe.json": json.dumps({"image": probe}).encode(),
            "golden.json": golden,
        }

    return parts


@pytest.fixture(scope="session")
def classifier_parts(tiny_parts: Callable[[], Parts]) -> Callable[..., Parts]:
    """Parts of a classifier of green, red (unsafe) and blue; ``blue_first`` wants nhwc and bgr."""

    def parts(*, blue_first: bool = False) -> Parts:
        fields, _ = tiny_parts()
        fields |= {"name": "colours", "method": "classifier", "activation": "softmax"}
        fields["labels"] = [{"name": n, "unsafe": n == "red"} for n in ("green", "red", "blue")]
        fields["encoders"]["image"]["outputs"] = ["scores"]
        if blue_first:
            fields["encoders"]["image"] |= {"layout": "nhwc", "channels": "bgr"}
        for part in ("encoders", "thresholds"):
            del fields[part]["text"]
        for name in ("geometry", "bounds", "concepts"):
            del fields[name]
        fields["parity"] = {}
        golden = _flat_golden(lambda colour: (colour * 2 - 1)[[1, 0, 2]] * 3)
        return fields, {
            "image.onnx": classifier_model(blue_first=blue_first),
            "golden.json": golden,
        }

    return parts


@pytest.fixture(scope="session")
def tiny_package(tmp_path_factory: pytest.TempPathFactory, tiny_parts: Any) -> Path:
    """The folder of a valid tiny package; copy it before changing anything."""
    path = tmp_path_factory.mktemp("packages") / "tiny"
    write_package(path, *tiny_parts())
    return path


@pytest.fixture(scope="session")
def colour_png() -> Callable[..., bytes]:
    """``colour_png((255, 0, 0))`` is a red PNG file."""
    return png


@pytest.fixture(scope="session")
def tiny_image_model() -> Callable[..., bytes]:
    """Variants of the tiny image model; see :func:`image_model`."""
    return image_model
