"""A CycloneDX 1.6 bill of materials: the package, its files, and what runs it.

The same package gives the same bytes: the serial number is made of the package's digest, the time
is that of the package. Licences that have no SPDX identifier are given by name; those of libraries
are what their installed distributions say.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import onnx

from edgesafe.export.bundles.licences import cyclonedx_licence, cyclonedx_licences
from edgesafe.export.bundles.specs import Spec, graph_specs
from edgesafe.runtime.manifest import Common
from edgesafe.runtime.package import Package, PosePackage
from edgesafe.runtime.version import VERSION

__all__ = ["sbom"]

_NAMESPACE = uuid.UUID("6f3c1f7e-7d5f-5e0b-9c55-7a1f2f0f9f3c")
_EXTRAS = ("cpu",)  # what the package needs on a device
_REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)")


def sbom(package: Package | PosePackage) -> str:
    """Return the bill of materials of a verified package, as JSON text."""
    manifest = package.manifest
    model = f"model:{manifest.name}@{manifest.release}"
    files = list(_files(package))
    libraries = list(_libraries())
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, manifest.digest)}",
        "version": 1,
        "metadata": {
            "timestamp": manifest.created,
            "tools": {
                "components": [{"type": "application", "name": "edgesafe", "version": VERSION}]
            },
            "component": _model(manifest, model),
        },
        "components": [*files, *libraries],
        "dependencies": [
            {
                "ref": model,
                "dependsOn": [c["bom-ref"] for c in (*files, *libraries)],
            }
        ],
    }
    return json.dumps(bill, indent=2, ensure_ascii=False) + "\n"


def _model(manifest: Common, reference: str) -> dict[str, Any]:
    considerations = {
        "useCases": [manifest.intended_use],
        "technicalLimitations": list(manifest.limits),
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": manifest.name,
        "version": str(manifest.release),
        "description": manifest.intended_use,
        "hashes": [{"alg": "SHA-256", "content": manifest.digest}],
        "licenses": [cyclonedx_licence(manifest.weights.licence)],
        "properties": [
            {"name": "edgesafe:kind", "value": str(manifest.raw["kind"])},
            {"name": "edgesafe:identity", "value": manifest.identity},
            {"name": "edgesafe:minimum_runtime", "value": manifest.minimum_runtime},
            *({"name": "edgesafe:origin", "value": text} for text in manifest.weights.origin),
        ],
        "modelCard": {"considerations": {k: v for k, v in considerations.items() if v}},
    }


def _files(package: Package | PosePackage) -> Iterator[dict[str, Any]]:
    made = {spec.file: (key, spec) for key, spec in graph_specs(package.manifest).items()}
    for name, entry in sorted(package.manifest.files.items()):
        component: dict[str, Any] = {
            "type": "file",
            "bom-ref": f"file:{name}",
            "name": name,
            "hashes": [{"alg": "SHA-256", "content": entry.sha256}],
            "properties": [{"name": "edgesafe:bytes", "value": str(entry.size)}],
        }
        if name in made:
            component["properties"] += _precision(package.manifest, *made[name])
        if name.endswith(".onnx"):
            component["properties"] += _onnx_facts(package.files[name])
        yield component


def _precision(manifest: Common, key: str, spec: Spec) -> Iterator[dict[str, str]]:
    """Yield what a graph computes in, and what its ranges were chosen by and on."""
    yield {"name": "edgesafe:precision", "value": spec.precision}
    calibration = manifest.calibration.get(key)
    if spec.precision == "int8" and calibration is not None:
        yield {"name": "edgesafe:quantiser", "value": calibration.method}
        yield {"name": "edgesafe:calibration_sha256", "value": calibration.data_sha256}


def _onnx_facts(model: bytes) -> Iterator[dict[str, str]]:
    proto = onnx.load_from_string(model)
    yield {"name": "onnx:ir_version", "value": str(proto.ir_version)}
    for opset in proto.opset_import:
        yield {"name": "onnx:opset", "value": f"{opset.domain or 'ai.onnx'} {opset.version}"}
    own = {(function.domain, function.name) for function in proto.functions}
    used = {(node.domain or "ai.onnx", node.op_type) for node in proto.graph.node}
    for domain, name in sorted(used | own):
        yield {"name": "onnx:operator", "value": f"{domain}.{name}"}


def _libraries() -> Iterator[dict[str, Any]]:
    """Yield edgesafe and what it requires on a device, as installed where this is made."""
    yield _library("edgesafe", VERSION)
    seen = {"edgesafe"}
    for requirement in metadata.requires("edgesafe") or ():
        words, _, marker = requirement.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if extra is not None and extra.group(1) not in _EXTRAS:
            continue
        found = _REQUIREMENT.match(words.strip())
        if found is None or found.group(1).lower() in seen:
            continue
        seen.add(found.group(1).lower())
        yield _library(found.group(1).lower())


def _library(name: str, version: str | None = None) -> dict[str, Any]:
    """Describe a distribution; the version is that of what is installed, unless given."""
    licences: list[dict[str, Any]] = []
    try:
        installed = metadata.metadata(name)
        version = version or installed["Version"]
        licences = cyclonedx_licences(installed)
    except metadata.PackageNotFoundError:
        pass  # the name is all that is known
    reference = f"pkg:pypi/{name}" + (f"@{version}" if version else "")
    return {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        **({"version": version} if version else {}),
        **({"licenses": licences} if licences else {}),
        "purl": reference,
    }
