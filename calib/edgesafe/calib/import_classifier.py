"""From an ONNX classifier of whatever origin to a package of the method ``classifier``."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgesafe.calib.classifier_card import Card
from edgesafe.runtime.errors import DataError, MissingExtraError
from edgesafe.runtime.files import atomic_folder, canonical_json, sha256_hex
from edgesafe.runtime.golden import sample_pixels
from edgesafe.runtime.moderator import Moderator
from edgesafe.runtime.onnx_guard import guard_model, wire_fields
from edgesafe.runtime.package import Package, read_package, write_package

__all__ = ["default_opset", "import_classifier"]

_MINIMUM_RUNTIME = "0.1.0"
_MODEL = "image.onnx"
_OPSET_IMPORT, _DOMAIN, _VERSION = 8, 1, 2  # of ModelProto and OperatorSetIdProto


def import_classifier(
    model: bytes, card: Card, out: Path, *, name: str, source: str, overwrite: bool = False
) -> Package:
    """Write the package of a classifier and open it as a device does.

    It has no threshold: what its scores mean on somebody's data is found out by `edgesafe calibrate
    threshold`.

    Args:
        model: The ONNX file.
        card: What the file does not say.
        out: The folder to make.
        name: Of the package.
        source: What the file was called, for ``training``.
        overwrite: Replace an existing package.

    Raises:
        DataError: The model does not fit its card.
        PackageError: The model is no ONNX model, or reaches outside its file.
        UsageError: ``out`` exists and ``overwrite`` is false.
    """
    guard_model(model, source)
    input_name, output_name, run = _open(model, card, source)
    size = card.preprocess
    fields = {
        "kind": "moderation",
        "name": name,
        "release": 1,
        "minimum_runtime": _MINIMUM_RUNTIME,
        "method": "classifier",
        "labels": [{"name": label.name, "unsafe": label.unsafe} for label in card.labels],
        "activation": card.activation,
        "encoders": {
            "image": {
                "file": _MODEL,
                "input": input_name,
                "outputs": [output_name],
                "opset": default_opset(model, source),
                "precision": "fp32",
                "storage": "fp32",
                "preprocess": size.to_dict(),
                **({"layout": card.layout} if card.layout != "nchw" else {}),
                **({"channels": card.channels} if card.channels != "rgb" else {}),
            }
        },
        "thresholds": {},
        "golden": {"file": "golden.json"},
        "parity": {},
        "weights": dict(card.weights),
        "intended_use": card.intended_use,
        "limits": list(card.limits),
        "training": {"imported_from": source, "sha256": sha256_hex(model)},
    }
    files = {_MODEL: model, "golden.json": _golden(card, run, source)}
    with atomic_folder(out, overwrite=overwrite) as folder:
        package = write_package(folder, fields, files, overwrite=True)
        Moderator(package, backend="cpu").prepare("image")
    return read_package(out)


def default_opset(model: bytes, where: str) -> int:
    """Return the version of the standard operators that a model asks for.

    Raises:
        DataError: It asks for none.
    """
    view = memoryview(model)
    for number, _, start, end in wire_fields(view, 0, len(view)):
        if number != _OPSET_IMPORT:
            continue
        entry = {n: bytes(view[a:b]) for n, _, a, b in wire_fields(view, start, end)}
        if entry.get(_DOMAIN, b"") in (b"", b"ai.onnx") and _VERSION in entry:
            # A varint: seven bits a byte, the lowest first.
            return sum((byte & 0x7F) << (7 * i) for i, byte in enumerate(entry[_VERSION]))
    raise DataError(f"{where} does not say which operators it uses: export it again")


_Run = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


def _open(model: bytes, card: Card, source: str) -> tuple[str, str, _Run]:
    try:
        import onnxruntime as ort
    except ImportError:
        raise MissingExtraError("onnxruntime", "cpu") from None

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this
        raise DataError(f"ONNX Runtime refuses {source}: {error}") from None
    entry = _one(session.get_inputs(), card.input, "input", source)
    result = _one(session.get_outputs(), card.output, "output", source)
    if entry.type != "tensor(float)" or len(entry.shape) != 4:
        raise DataError(
            f"{source}: its input {entry.name} is {entry.type} {entry.shape}: a float32 image of "
            "four dimensions is needed"
        )
    if isinstance(entry.shape[0], int):
        raise DataError(
            f"{source}: its input takes exactly {entry.shape[0]} image(s): export it with a "
            "dynamic first dimension"
        )
    size = card.preprocess
    wanted = [3, size.height, size.width] if card.layout == "nchw" else [size.height, size.width, 3]
    if any(isinstance(a, int) and a != b for a, b in zip(entry.shape[1:], wanted, strict=True)):
        raise DataError(
            f"{source}: its input is {entry.shape}, and the card says [batch, "
            f"{', '.join(map(str, wanted))}]: correct layout, height or width of the card"
        )

    def run(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        rows = pixels[:, ::-1] if card.channels == "bgr" else pixels
        rows = rows.transpose(0, 2, 3, 1) if card.layout == "nhwc" else rows
        try:
            found = session.run([result.name], {entry.name: np.ascontiguousarray(rows)})[0]
        except Exception as error:
            raise DataError(f"{source} cannot be run as the card says: {error}") from None
        return np.asarray(found, np.float32)

    return entry.name, result.name, run


def _one(there: list[Any], name: str | None, kind: str, source: str) -> Any:
    names = [entry.name for entry in there]
    if name is None and len(there) == 1:
        return there[0]
    if name not in names:
        raise DataError(f"{source} has the {kind}s {names}: name one as {kind!r} in the card")
    return there[names.index(name)]


def _golden(card: Card, run: _Run, source: str) -> bytes:
    rows = []
    for rgb in _pictures():
        tensor = card.preprocess(rgb)
        found = run(tensor[None])
        if found.shape != (1, len(card.labels)):
            raise DataError(
                f"{source} answers {found.shape} for one image, and the card has "
                f"{len(card.labels)} labels"
            )
        if not np.isfinite(found).all() or not found.any():
            raise DataError(f"{source} answers {found[0].tolist()} for a harmless drawing")
        if card.activation == "none" and not (found.min() >= -1e-3 and found.max() <= 1.001):
            raise DataError(
                f"{source} answers {found[0].tolist()}, which are no probabilities: the activation "
                "of the card should be softmax or sigmoid"
            )
        stream = io.BytesIO()
        Image.fromarray(rgb).save(stream, "PNG")
        rows.append(
            {
                "png": base64.b64encode(stream.getvalue()).decode("ascii"),
                "pixels_sample": [
                    [int(c), int(y), int(x), round(v, 6)] for c, y, x, v in sample_pixels(tensor)
                ],
                "embedding": [float(f"{value:.9g}") for value in found[0]],
            }
        )
    # Two grey levels, as for the packages of edgesafe's own models; 0.2 is the most allowed.
    pixels = min(0.2, 2 / 255 / min(card.preprocess.std))
    return canonical_json(
        {"tolerances": {"pixels": pixels, "embedding": 0.01}, "image": rows, "text": []}
    )


def _pictures() -> list[npt.NDArray[np.uint8]]:
    """Two small drawings: colour gradients, a disc and a bar, of both orientations."""
    pictures = []
    for height, width in ((96, 128), (150, 110)):
        y, x = np.mgrid[0:height, 0:width]
        y, x = y / height, x / width
        rgb = np.stack([255 * x, 255 * y, 255 * (1 - x) * (1 - y)], axis=-1)
        rgb[(x - 0.35) ** 2 + (y - 0.4) ** 2 < 0.04] = (200, 60, 40)
        rgb[(abs(x - 0.7) < 0.08) & (abs(y - 0.55) < 0.3)] = (40, 90, 210)
        pictures.append(np.rint(rgb).astype(np.uint8))
    return pictures
