from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from edgesafe.export.bundles.sbom import sbom
from edgesafe.runtime.package import read_package


def test_every_file_is_listed_with_its_digest(tiny_package: Path) -> None:
    bill = json.loads(sbom(read_package(tiny_package)))
    files = {c["name"]: c for c in bill["components"] if c["type"] == "file"}
    on_disk = {f.name for f in tiny_package.iterdir()} - {"manifest.json"}
    assert set(files) == on_disk
    for name, component in files.items():
        digest = hashlib.sha256((tiny_package / name).read_bytes()).hexdigest()
        assert component["hashes"] == [{"alg": "SHA-256", "content": digest}]
    facts = {p["value"] for p in files["image.onnx"]["properties"] if p["name"] != "edgesafe:bytes"}
    assert "ai.onnx 18" in facts and "ai.onnx.ReduceMean" in facts
    libraries = {c["name"]: c for c in bill["components"] if c["type"] == "library"}
    assert {"edgesafe", "numpy", "pillow", "click"} <= set(libraries)
    assert "torch" not in libraries
    assert libraries["numpy"]["purl"].startswith("pkg:pypi/numpy@")
    references = {c["bom-ref"] for c in bill["components"]}
    assert set(bill["dependencies"][0]["dependsOn"]) == references


def test_the_same_package_gives_the_same_bill(tiny_package: Path) -> None:
    package = read_package(tiny_package)
    assert sbom(package) == sbom(package)


def test_cyclonedx_reads_it(tiny_package: Path) -> None:
    bom = pytest.importorskip("cyclonedx.model.bom")
    read = bom.Bom.from_json(data=json.loads(sbom(read_package(tiny_package))))
    assert read.metadata.component.name == "tiny"
    assert read.metadata.component.type.value == "machine-learning-model"
    assert len(read.components) > 5


def test_it_follows_the_schema(tiny_package: Path) -> None:
    pytest.importorskip("jsonschema")
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    text = sbom(read_package(tiny_package))
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace("SHA-256", "SHA-257")) is not None
