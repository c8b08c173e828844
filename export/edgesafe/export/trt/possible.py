"""Whether a bundle can be made of what is asked for.

Asked twice: of what is known before an export, which may take minutes, and of the networks that it
makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgesafe.export.trt.device.profiles import Range, merge, parse_profile
from edgesafe.export.trt.device.refusals import refusals
from edgesafe.export.trt.networks import read_any_package, read_networks
from edgesafe.export.trt.settings import TrtOptions, default_profile
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.manifest_parts import MANIFEST

__all__ = ["check_before_export", "check_possible"]

_LEAVE_OUT = (
    "make the bundle without --dla and pass --dla and --network to build_engine.py on the device"
)


def check_before_export(
    source: Path, options: TrtOptions, *, precision: str = "fp32", only: tuple[str, ...] = ()
) -> None:
    """Refuse what no export can change.

    Args:
        source: A checkpoint or a package.
        options: What is asked for.
        precision: What the networks are going to compute in.
        only: Which are converted to it; empty for all.

    Raises:
        UsageError: Naming everything that is not possible.
        PackageError: The source is a damaged package.
    """
    if options.timing_cache is not None and not options.timing_cache.is_file():
        raise UsageError(f"the timing cache {options.timing_cache} cannot be read: no such file")
    try:
        given = [parse_profile(text)[2] for text in options.profiles]
        if not (source / MANIFEST).is_file():
            # Its networks are not known by name yet; each will compute in that.
            precisions = {} if only else {"of the checkpoint": precision}
            fixed = all(sizes.min == sizes.max for sizes in given)
            profiles = {} if fixed else {"the checkpoint": {"open": Range(1, 1, 2)}}
        else:
            networks = {item.name: item for item in read_networks(read_any_package(source))}
            limits = {name: item.limits for name, item in networks.items()}
            defaults = {name: default_profile(item) for name, item in networks.items()}
            profiles = merge(defaults, options.profiles, limits)
            precisions = {
                name: precision
                if not only or {name, f"{name}.onnx"} & set(only)
                else item.precision
                for name, item in networks.items()
            }
    except ValueError as error:
        raise UsageError(str(error)) from None
    check_possible(options, precisions, profiles)


def check_possible(
    options: TrtOptions,
    precisions: Mapping[str, str],
    profiles: Mapping[str, Mapping[str, Range]],
) -> None:
    """Refuse what no device can do.

    Args:
        options: What is asked for.
        precisions: Network to what it computes in.
        profiles: Network to the sizes of its open dimensions.

    Raises:
        UsageError: Naming everything that is not possible.
    """
    found = refusals(
        None,
        None,
        precisions=dict(precisions),
        dynamic=tuple(
            name
            for name, axes in profiles.items()
            if any(sizes.min != sizes.max for sizes in axes.values())
        ),
        dla=options.dla,
        hardware_compatible=options.hardware_compatible,
        version_compatible=options.version_compatible,
        leave_out=_LEAVE_OUT,
    )
    if found:
        raise UsageError("\n".join(found))
