"""The options of ``edgesafe export`` that write bundles beside a package, as one decorator.

SOURCE may be a package, which is then not written again; a checkpoint is exported to OUT first.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from edgesafe.export.bundles.deepstream import FLOAT32_ONLY, check_frames, write_deepstream
from edgesafe.export.bundles.model_card import model_card
from edgesafe.export.bundles.ownership import check_folder
from edgesafe.export.bundles.sbom import sbom
from edgesafe.export.bundles.triton import TritonBackend, write_triton
from edgesafe.export.trt.networks import read_any_package
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.files import atomic_write
from edgesafe.runtime.manifest_parts import MANIFEST

__all__ = ["bundle_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--triton",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Also write a Triton model repository.",
    ),
    click.option(
        "--triton-backend",
        type=click.Choice(["onnxruntime", "tensorrt"]),
        default="onnxruntime",
        show_default=True,
        help="Of --triton: what runs the networks in the server.",
    ),
    click.option(
        "--triton-batch",
        type=click.IntRange(1, 1024),
        default=8,
        show_default=True,
        help="Of --triton: largest batch that the server puts together.",
    ),
    click.option(
        "--deepstream",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Also write configurations of DeepStream's nvinfer.",
    ),
    click.option(
        "--sbom",
        "sbom_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Also write a CycloneDX bill of materials.",
    ),
    click.option(
        "--model-card",
        "card_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Also write a model card in Markdown.",
    ),
)
_OWN = {"triton", "triton_backend", "triton_batch", "deepstream", "sbom_file", "card_file"}
# What --only calls the networks that nvinfer runs.
_ON_FRAMES = {"image", "detector.onnx"}
_NEUTRAL = {"checkpoint", "overwrite", "as_json"}


def bundle_options(command: Command) -> Command:
    """Add the options to the function of a command that writes a package.

    The function must take ``checkpoint``, ``out`` (None where it is not given), ``overwrite`` and
    ``as_json``.
    """

    @functools.wraps(command)
    def extended(
        *,
        triton: Path | None,
        triton_backend: TritonBackend,
        triton_batch: int,
        deepstream: Path | None,
        sbom_file: Path | None,
        card_file: Path | None,
        **rest: Any,
    ) -> None:
        if triton is None:
            _refuse_lonely("triton_backend", "triton_batch")
        wanted = [triton, deepstream, sbom_file, card_file]
        if all(path is None for path in wanted):
            command(**rest)
            return
        overwrite = bool(rest["overwrite"])
        # Before an export that takes minutes.
        _check_apart([path for path in wanted if path is not None])
        if triton is not None:
            check_folder(triton, "triton", overwrite=overwrite)
        if deepstream is not None:
            check_folder(deepstream, "deepstream", overwrite=overwrite)
            _check_precision(rest)
        for path in (sbom_file, card_file):
            if path is not None:
                _check_file(path, overwrite)
        package = _source(command, rest)
        if deepstream is not None:
            check_frames(package)
        written: dict[str, Any] = {}
        if triton is not None:
            waiting = write_triton(
                package,
                triton,
                backend=triton_backend,
                max_batch=triton_batch,
                overwrite=overwrite,
                progress=lambda line: click.echo(line, err=True),
            )
            written["triton"] = {"folder": str(triton), "plans_to_build": waiting}
        if deepstream is not None:
            names = write_deepstream(package, deepstream, overwrite=overwrite)
            written["deepstream"] = {"folder": str(deepstream), "files": names}
        if sbom_file is not None:
            _write(sbom_file, sbom(package), overwrite)
            written["sbom"] = str(sbom_file)
        if card_file is not None:
            _write(card_file, model_card(package.manifest), overwrite)
            written["model_card"] = str(card_file)
        if rest["as_json"]:
            click.echo(json.dumps({"bundles": written}))
            return
        if triton is not None:
            click.echo(f"{triton}  Triton model repository ({triton_backend})")
            if written["triton"]["plans_to_build"]:
                click.echo("  no plan was built here: README.md says how to, on the server")
        if deepstream is not None:
            click.echo(f"{deepstream}  DeepStream: {', '.join(written['deepstream']['files'])}")
        for path, kind in ((sbom_file, "bill of materials"), (card_file, "model card")):
            if path is not None:
                click.echo(f"{path}  {kind}")

    for option in reversed(_OPTIONS):
        extended = option(extended)
    return extended  # type: ignore[return-value]


def _refuse_lonely(*names: str) -> None:
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"--{name.replace('_', '-')} is an option of --triton DIR")


def _source(command: Callable[..., Any], rest: dict[str, Any]) -> Any:
    source: Path = rest["checkpoint"]
    out: Path | None = rest["out"]
    if rest.get("trt"):
        raise UsageError("--trt makes a bundle of its own: give it in a run of its own")
    if (source / MANIFEST).is_file() and out is None:
        context = click.get_current_context()
        given = {
            name
            for name in context.params
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        }
        others = sorted(given - _OWN - _NEUTRAL)
        if others:
            raise UsageError(
                f"--{others[0].replace('_', '-')} makes another package of {source}: name it with "
                "--out PKG"
            )
        return read_any_package(source)
    if out is None:
        raise UsageError("--out PKG is needed: the package to make of the checkpoint")
    command(**rest)
    return read_any_package(out)


def _check_precision(rest: dict[str, Any]) -> None:
    """Refuse --deepstream of a network that is going to be converted, before it is."""
    precision = rest.get("precision", "fp32")
    only = rest.get("only") or _ON_FRAMES
    if precision != "fp32" and not _ON_FRAMES.isdisjoint(only):
        raise UsageError(f"with --precision {precision}: {FLOAT32_ONLY}")


def _check_apart(paths: list[Path]) -> None:
    known: set[str] = set()
    for path in paths:
        place = os.path.abspath(path)
        if place in known:
            raise UsageError(f"{path} is named twice: give each output a place of its own")
        known.add(place)


def _check_file(path: Path, overwrite: bool) -> None:
    if path.exists() and not (overwrite and path.is_file()):
        raise UsageError(f"{path} exists already: choose another name or pass --overwrite")


def _write(path: Path, text: str, overwrite: bool) -> None:
    _check_file(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, text.encode())
