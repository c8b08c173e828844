"""A release, imported, exported, read by the runtime: it computes what the release computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edgesafe.export.cli import export
from edgesafe.export.probes import draw_images, encode_png
from edgesafe.runtime import Moderator
from edgesafe.runtime.encoders import open_image, open_text
from edgesafe.runtime.golden import read_golden
from edgesafe.runtime.package import read_package
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train.encoders.clip_tokenizer import clip_tokenizer_json
from edgesafe.train.importing.commands import hysac

TEXTS = ["a cup of coffee on a wooden table", "x"]
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def token_ids() -> torch.Tensor:
    """CLIP's, of fixed length; padding is 0."""
    from open_clip.tokenizer import SimpleTokenizer
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(clip_tokenizer_json(SimpleTokenizer()).decode())
    tokenizer.enable_padding(pad_id=0, length=77)
    return torch.tensor([row.ids for row in tokenizer.encode_batch(TEXTS)])


@pytest.mark.parametrize(
    ("size", "full_size", "sizes"),
    [
        (32, False, {}),
        pytest.param(
            224,
            True,
            {"image_layers": 24, "text_layers": 12, "rank": 16},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_import_export_run(
    size: int,
    full_size: bool,
    sizes: dict[str, int],
    make_hysac: Callable[..., Any],
    write_hysac: Callable[..., Path],
    tmp_path: Path,
) -> None:
    released = make_hysac(full_size=full_size, **sizes)
    state = released.state_dict()
    assert len(state) == (957 if full_size else 125)
    folder = write_hysac(tmp_path / "release", state)
    del state
    pictures = draw_images()[:2]
    preprocess = Preprocess(size, size, "crop", "bicubic", *CLIP)
    pixels = np.stack([preprocess(rgb) for rgb in pictures])
    ids = token_ids()
    wanted = released.encode(torch.from_numpy(pixels), ids)
    del released

    checkpoint, package_path = tmp_path / "checkpoint", tmp_path / "package"
    done = CliRunner().invoke(hysac, [str(folder), "--out", str(checkpoint)])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(export, [str(checkpoint), "--out", str(package_path)])
    assert done.exit_code == 0, done.output
    assert "CC-BY-NC-4.0: not for commercial use" in done.stderr

    package = read_package(package_path)
    manifest = package.manifest
    assert manifest.weights.licence == "CC-BY-NC-4.0"
    assert manifest.weights.origin[0].startswith("release, hysac_model.pth, sha256 ")
    assert manifest.bounds["unsafe_text"].up_95 == 0.628
    assert manifest.lorentz().curvature == pytest.approx(0.1, rel=1e-6)
    golden = read_golden(package)
    image = open_image(package, golden, backend="cpu", threads=1).encode(pixels)
    plain = [row[: row.index(49407) + 1] for row in ids.tolist()]
    text = open_text(package, golden, backend="cpu", threads=1).encode(plain)
    for found, truth in zip((image, text), wanted, strict=True):
        lengths = np.linalg.norm(truth, axis=1)
        assert (np.linalg.norm(found.embedding - truth, axis=1) / lengths).max() < 1e-4
        radii = np.arcsinh(math.sqrt(0.1) * lengths) / math.sqrt(0.1)
        assert found.root_distance == pytest.approx(radii, rel=1e-4)
    verdict = Moderator.load(package_path).check(encode_png(pictures[0]))
    radius = np.arcsinh(math.sqrt(0.1) * np.linalg.norm(wanted[0][0])) / math.sqrt(0.1)
    # The moderator looks at several views of a picture; one of them is the whole of it.
    assert verdict.radius is not None and verdict.radius >= radius * (1 - 1e-3)
