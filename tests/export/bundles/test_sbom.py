from __future__ import annotations

import hashlib
import json
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from edgesafe.export.bundles.licences import cyclonedx_licences, spdx_id
from edgesafe.export.bundles.sbom import sbom
from edgesafe.runtime.package import read_package, write_package


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
    assert libraries["edgesafe"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert all(libraries[name]["licenses"] for name in ("numpy", "pillow", "click"))
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


def test_precision_and_quantiser_stand_with_the_graph(tiny_parts: Any, tmp_path: Path) -> None:
    fields, files = tiny_parts()
    fields["encoders"]["image"]["precision"] = "int8"
    digests = {"data_sha256": "a" * 64, "onnx_sha256": "b" * 64}
    fields["calibration"] = {"image": {"method": "nncf", **digests, "n": 171}}
    bill = json.loads(sbom(write_package(tmp_path / "p", fields, files)))
    own = {
        c["name"]: {p["name"]: p["value"] for p in c["properties"]}
        for c in bill["components"]
        if c["type"] == "file"
    }
    assert own["image.onnx"]["edgesafe:precision"] == "int8"
    assert own["image.onnx"]["edgesafe:quantiser"] == "nncf"
    assert own["image.onnx"]["edgesafe:calibration_sha256"] == "a" * 64
    assert own["text.onnx"]["edgesafe:precision"] == "fp32"
    assert "edgesafe:quantiser" not in own["text.onnx"]
    assert "edgesafe:precision" not in own["tokenizer.json"]


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("CC BY-SA 4.0", "CC-BY-SA-4.0"),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc-by-nc-3.0", "CC-BY-NC-3.0"),
        ("CC BY-NC-SA 2.5", "CC-BY-NC-SA-2.5"),
        ("Creative Commons BY-ND 4.0 International", "CC-BY-ND-4.0"),
        ("CC0-1.0", "CC0-1.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("Apache-2.0", "Apache-2.0"),
        ("MIT  License", "MIT"),
        ("CC BY-SA 5.0", None),
        ("CC BY 4.0, but ask us first", None),
        ("OpenRAIL-M", None),
        ("proprietary", None),
    ],
)
def test_spdx_identifiers(text: str, known: str | None) -> None:
    assert spdx_id(text) == known


def test_a_licence_has_its_identifier_or_its_name(tiny_parts: Any, tmp_path: Path) -> None:
    for number, (text, entry) in enumerate(
        [("CC BY-SA 4.0", {"id": "CC-BY-SA-4.0"}), ("house rules", {"name": "house rules"})]
    ):
        fields, files = tiny_parts()
        fields["weights"]["licence"] = text
        bill = json.loads(sbom(write_package(tmp_path / str(number), fields, files)))
        assert bill["metadata"]["component"]["licenses"] == [{"license": entry}]


APACHE, MIT, BSD = (
    f"License :: OSI Approved :: {name}"
    for name in ("Apache Software License", "MIT License", "BSD License")
)


@pytest.mark.parametrize(
    ("headers", "licences"),
    [
        ([("License-Expression", "MIT"), ("License", "see LICENSE")], [{"license": {"id": "MIT"}}]),
        (
            [("License-Expression", "0BSD AND MIT")],
            [{"expression": "0BSD AND MIT"}],
        ),
        ([("License", "Apache 2.0"), ("Classifier", APACHE)], [{"license": {"id": "Apache-2.0"}}]),
        ([("License", "BSD"), ("Classifier", MIT)], [{"license": {"id": "MIT"}}]),
        ([("License", "ours"), ("Classifier", APACHE)], [{"license": {"name": "ours"}}]),
        (
            [("License", "Copyright\nAll rights"), ("Classifier", BSD)],
            [{"license": {"name": "BSD License"}}],
        ),
        (
            [("Classifier", MIT), ("Classifier", APACHE), ("Classifier", "Typing :: Typed")],
            [{"license": {"id": "MIT"}}, {"license": {"name": "Apache Software License"}}],
        ),
        ([("License", "UNKNOWN"), ("Classifier", "License :: OSI Approved")], []),
        ([], []),
    ],
)
def test_licences_of_a_distribution(
    headers: list[tuple[str, str]], licences: list[dict[str, Any]]
) -> None:
    message: Any = Message()
    for name, value in headers:
        message[name] = value
    assert cyclonedx_licences(message) == licences
