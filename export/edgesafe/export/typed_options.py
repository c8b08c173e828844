"""The options of ``edgesafe export`` about precision, as one decorator.

SOURCE may be a package, whose graphs are then the start. A checkpoint is exported in float32 into
a folder beside OUT first.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from edgesafe.export.calibration_data import read_cases
from edgesafe.export.precision import PRECISIONS
from edgesafe.export.quantise import METHODS
from edgesafe.export.retype import BUDGETS, Retyped, RetypeOptions, retype_package
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.runtime.manifest_parts import MANIFEST

__all__ = ["precision_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="fp32",
        show_default=True,
        help="What a device computes in.",
    ),
    click.option(
        "--calib",
        type=click.Path(path_type=Path),
        multiple=True,
        help="Of --precision int8: pictures or texts like those that the device will see: a "
        "folder, .jsonl, .txt, .npz, or a BOP data set; repeatable.",
    ),
    click.option(
        "--held-out",
        type=click.Path(path_type=Path),
        multiple=True,
        help="Data to measure the effect of the precision on; repeatable.  [default: a third of "
        "--calib]",
    ),
    click.option(
        "--only",
        multiple=True,
        metavar="NAME",
        help="Convert only this encoder (image, text) or network file; repeatable.",
    ),
    click.option(
        "--quantiser",
        type=click.Choice(METHODS),
        default="auto",
        show_default=True,
        help="Of --precision int8: what chooses ranges.",
    ),
    click.option(
        "--keep",
        type=FiniteRange(0, 1),
        help="Of --precision int8: share of the multiplications that may stay in float32.  "
        f"[default: the least of {', '.join(map(str, BUDGETS))} that is exact enough]",
    ),
    click.option(
        "--allow-loss",
        is_flag=True,
        help="Write the package even where it loses more than the limits allow.",
    ),
)
_OWN = {"calib", "held_out", "only", "quantiser", "keep", "allow_loss"}
# Of a package; whatever else the command knows is of checkpoints.
_OF_PACKAGES = _OWN | {"checkpoint", "out", "precision", "name", "release", "overwrite", "as_json"}


def precision_options(command: Command) -> Command:
    """Add the options to the function of a command that writes a package in float32.

    The function must take ``checkpoint``, ``out`` (None where it is not given), ``name``,
    ``release``, ``overwrite`` and ``as_json``. Put it nearest to the function: the options of
    bundles are about the package that it writes.
    """

    @functools.wraps(command)
    def extended(
        *,
        precision: Any,
        calib: tuple[Path, ...],
        held_out: tuple[Path, ...],
        only: tuple[str, ...],
        quantiser: str,
        keep: float | None,
        allow_loss: bool,
        **rest: Any,
    ) -> None:
        source: Path = rest["checkpoint"]
        packaged = (source / MANIFEST).is_file()
        if precision != "int8" and (calib or _given("quantiser") or _given("keep")):
            raise UsageError("--calib, --quantiser and --keep are options of --precision int8")
        if not packaged and precision == "fp32":
            if held_out or only or allow_loss:
                raise UsageError(
                    "--held-out, --only and --allow-loss go with --precision fp16 or int8"
                )
            command(**rest)
            return
        out: Path | None = rest["out"]
        if out is None:
            raise UsageError("--out DIR is needed: the package to make")
        if precision == "int8" and not calib:
            raise UsageError(
                "--precision int8 needs calibration data, there is no default: give --calib with "
                "pictures or texts like those that the device will see"
            )
        options = RetypeOptions(
            precision=precision,
            calib=read_cases(calib),
            held_out=read_cases(held_out),
            only=only,
            method=quantiser,
            budget=keep,
            allow_loss=allow_loss,
            name=rest["name"],
            release=rest["release"],
            overwrite=bool(rest["overwrite"]),
        )
        if packaged:
            _check_of_package()
            _print(retype_package(source, out, options, progress=_progress), rest)
            return
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "package"
            name = rest["name"] or out.resolve().name
            with contextlib.redirect_stdout(io.StringIO()):
                command(**{**rest, "out": plain, "name": name, "overwrite": False})
            _print(retype_package(plain, out, options, progress=_progress), rest)

    for option in reversed(_OPTIONS):
        extended = option(extended)
    return extended  # type: ignore[return-value]


def _given(name: str) -> bool:
    context = click.get_current_context()
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _check_of_package() -> None:
    from edgesafe.export.bundles.options import _OWN as of_bundles

    known = click.get_current_context().params
    strange = sorted(n for n in known if _given(n) and n not in _OF_PACKAGES | of_bundles)
    bundle = {"trt", "verify_build", "sm", "profile", "workspace", "dla", "timing_cache"}
    bundle |= {"version_compatible", "hardware_compatible", "stored_weights"}
    strange = [name for name in strange if name not in bundle]
    if strange:
        raise UsageError(
            f"--{strange[0].replace('_', '-')} is of checkpoints: a package keeps what it has"
        )


def _print(result: Retyped, rest: dict[str, Any]) -> None:
    manifest = result.package.manifest
    for loss in (*result.losses, *result.notes):
        click.echo(f"warning: {loss}", err=True)
    made = {k: v.quantised.to_json() for k, v in result.lowered.items() if v.quantised}
    sizes = {name: entry.size for name, entry in manifest.files.items()}
    if rest["as_json"]:
        summary = {
            "package": str(result.package.path),
            "identity": manifest.identity,
            "bytes": sizes,
            "precision_effect": dict(result.effect),
            "calibration": made,
        }
        click.echo(json.dumps(summary))
        return
    size = sum(sizes.values())
    click.echo(f"{result.package.path}  {manifest.identity}  {size / 1e6:.1f} MB")
    for name, lowered in result.lowered.items():
        how = ""
        if lowered.quantised is not None:
            cached = ", from the cache" if lowered.quantised.cached else ""
            how = (
                f" ({lowered.quantised.method}, {100 * lowered.quantised.keep:g} % in float32, "
                f"{lowered.quantised.n} inputs{cached})"
            )
        click.echo(f"  {name}  {lowered.precision}{how}")
        for key, value in result.effect.get(name, {}).items():
            click.echo(f"    {key:26} {value:.6g}")


def _progress(stage: str) -> None:
    click.echo(stage, err=True)
