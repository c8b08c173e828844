"""The options ``--trt`` and ``--verify-build`` of ``edgesafe export``, as one decorator."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from edgesafe.calib.next_release import is_of_format
from edgesafe.export.trt.bundle import prepare, write_bundle
from edgesafe.export.trt.device.reading import BUNDLE
from edgesafe.export.trt.device.settings import LEVELS
from edgesafe.export.trt.engine import build_here, why_not_here
from edgesafe.export.trt.networks import read_any_package
from edgesafe.export.trt.possible import check_before_export, check_possible
from edgesafe.export.trt.report import verified_table
from edgesafe.export.trt.settings import SM_OPTIONAL, SMS, TrtOptions
from edgesafe.export.trt.verify import Verified, check_verified, verify_network
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.files import atomic_folder
from edgesafe.runtime.manifest_parts import MANIFEST

__all__ = ["trt_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--trt",
        is_flag=True,
        help="Make OUT a TensorRT bundle: the package, its networks, a script that builds the "
        "engines on the device.",
    ),
    click.option(
        "--verify-build",
        is_flag=True,
        help="Parse every network with TensorRT-RTX and build it ahead of time; needs no GPU.",
    ),
    click.option(
        "--sm",
        type=click.Choice((*SMS, *SM_OPTIONAL)),
        multiple=True,
        help="Of --verify-build: only this compute capability; repeatable.  [default: all]",
    ),
    click.option(
        "--profile",
        metavar="NAME=MIN,OPT,MAX",
        multiple=True,
        help="Sizes of an open dimension, e.g. batch=1,4,16 or text.tokens=2,16,64; repeatable.",
    ),
    click.option(
        "--stored-weights",
        is_flag=True,
        help="Leave weights stored as int8 as they are, for smaller engines.",
    ),
    click.option("--workspace", type=click.IntRange(1), help="Of --trt: MiB that a layer may use."),
    click.option(
        "--version-compatible", is_flag=True, help="Of --trt: engines for later TensorRT too."
    ),
    click.option(
        "--hardware-compatible", type=click.Choice(LEVELS), help="Of --trt: for other GPUs too."
    ),
    click.option("--dla", type=click.IntRange(0), help="Of --trt: core of the DLA to use."),
    click.option(
        "--timing-cache",
        type=click.Path(path_type=Path),
        help="Of --trt: times measured by an earlier build on such a device.",
    ),
)
# What says nothing about how the package is to be.
_NEUTRAL = {"checkpoint", "out", "overwrite", "as_json"}


def trt_options(command: Command) -> Command:
    """Add the options to the function of a command that writes a package.

    The function must take ``checkpoint``, ``out`` (None where it is not given), ``name``,
    ``overwrite`` and ``as_json``.
    """

    @functools.wraps(command)
    def extended(
        *,
        trt: bool,
        verify_build: bool,
        sm: tuple[str, ...],
        profile: tuple[str, ...],
        stored_weights: bool,
        workspace: int | None,
        version_compatible: bool,
        hardware_compatible: str | None,
        dla: int | None,
        timing_cache: Path | None,
        **rest: Any,
    ) -> None:
        options = TrtOptions(
            bundle=trt,
            verify=verify_build,
            sms=sm,
            profiles=profile,
            stored_weights=stored_weights,
            workspace=workspace,
            version_compatible=version_compatible,
            hardware_compatible=hardware_compatible,
            dla=dla,
            timing_cache=timing_cache,
        )
        _check_combination(options)
        if options.bundle:
            _bundle(command, rest, options)
        elif options.verify:
            _verify_only(command, rest, options)
        else:
            command(**rest)

    for option in reversed(_OPTIONS):
        extended = option(extended)
    return extended  # type: ignore[return-value]


def _check_combination(options: TrtOptions) -> None:
    of_bundle = {**options.defaults(), "timing_cache": options.timing_cache}
    lonely = [name for name, value in of_bundle.items() if value is not None]
    if lonely and not options.bundle:
        raise UsageError(f"--{lonely[0].replace('_', '-')} is an option of --trt")
    if options.sms and not options.verify:
        raise UsageError("--sm is an option of --verify-build")
    of_both = {"--profile": options.profiles, "--stored-weights": options.stored_weights}
    alone = [name for name, value in of_both.items() if value]
    if alone and not (options.bundle or options.verify):
        raise UsageError(f"{alone[0]} is an option of --trt and --verify-build")


def _bundle(command: Callable[..., Any], rest: dict[str, Any], options: TrtOptions) -> None:
    """Write a bundle, whole or not at all, and build its engines where this machine can."""
    out: Path | None = rest["out"]
    if out is None:
        raise UsageError("--trt needs --out DIR, the folder of the bundle")
    overwrite = bool(rest["overwrite"])
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists already: choose another name or pass --overwrite")
    if out.exists() and not is_of_format(out / BUNDLE, "edgesafe.trt-bundle/"):
        # A slip of the hand must not cost a folder of photos, nor what others call by that name.
        raise UsageError(
            f"{out} holds no {BUNDLE} of a device bundle: only a bundle is overwritten; choose "
            "another name or remove it yourself"
        )
    results: list[Verified] = []
    with atomic_folder(out, overwrite=overwrite) as folder:
        source: Path = rest["checkpoint"]
        if _as_it_is(source):
            path = source
        else:
            _check_before_export(rest, options)
            path = folder / "package"
            name = rest["name"] or out.resolve().name
            _export(command, {**rest, "out": path, "name": name, "overwrite": True}, folder, out)
        package = read_any_package(path)
        networks = prepare(package, options)
        check_possible(
            options,
            {item.network.name: item.network.precision for item in networks},
            {item.network.name: item.profile for item in networks},
        )
        if options.verify:
            results = [
                verify_network(item, options.sms or None, progress=_progress) for item in networks
            ]
            _print_verified(results, rest)
            check_verified(results)
        write_bundle(folder, package, networks, options, progress=_progress)
    reason = why_not_here()
    if reason is None:
        _progress("building the engines on this machine")
        build_here(out, _progress)
    names = [item.network.name for item in networks]
    if rest["as_json"]:
        click.echo(json.dumps({"bundle": str(out), "networks": names, "not_built": reason}))
        return
    click.echo(f"{out}  TensorRT bundle of {package.manifest.identity}: {', '.join(names)}")
    if reason is None:
        click.echo(f"  engines in {out / 'engines'}, for this GPU and this TensorRT only")
    else:
        click.echo(
            f"  no engine was built: {reason}. On the device: python3 {out.name}/build_engine.py"
        )


def _verify_only(command: Callable[..., Any], rest: dict[str, Any], options: TrtOptions) -> None:
    source: Path = rest["checkpoint"]
    path: Path | None = rest["out"]
    if _as_it_is(source):
        if path is not None:
            raise UsageError(
                "a package that is only verified is not written: leave --out away, or pass --trt "
                "for a bundle"
            )
        path = source
    else:
        _check_before_export(rest, options)
        command(**rest)
        assert path is not None
    networks = prepare(read_any_package(path), options)
    results = [verify_network(item, options.sms or None, progress=_progress) for item in networks]
    _print_verified(results, rest)
    check_verified(results)


def _check_before_export(rest: dict[str, Any], options: TrtOptions) -> None:
    check_before_export(
        rest["checkpoint"],
        options,
        precision=rest.get("precision", "fp32"),
        only=tuple(rest.get("only", ())),
    )


def _as_it_is(source: Path) -> bool:
    """Whether the source is a package and no option asks for another one."""
    context = click.get_current_context()
    given = {
        name
        for name in context.params
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    own = {parameter for parameter in TrtOptions.__dataclass_fields__} | {
        "trt",
        "verify_build",
        "sm",
        "profile",
    }
    return (source / MANIFEST).is_file() and not given - own - _NEUTRAL


def _export(
    command: Callable[..., Any], arguments: dict[str, Any], folder: Path, out: Path
) -> None:
    """Export a package into the bundle; what is printed names the place that it will have."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        command(**arguments)
    click.echo(printed.getvalue().replace(str(folder), str(out)), nl=False)


def _print_verified(results: list[Verified], rest: dict[str, Any]) -> None:
    if rest["as_json"]:
        click.echo(json.dumps({"verified": [result.to_json() for result in results]}))
    else:
        click.echo(verified_table(results))


def _progress(stage: str) -> None:
    click.echo(stage, err=True)
