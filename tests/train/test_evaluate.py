from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgesafe.train.config import LossConfig
from edgesafe.train.data import Quadruplet, read_quadruplets
from edgesafe.train.encoders.base import LoraSettings, TrainingPlan, build_encoder
from edgesafe.train.evaluate import (
    EncodeSettings,
    class_bounds,
    encode_split,
    evaluation_mode,
    metrics,
    validation_loss,
)
from edgesafe.train.losses import Quadruplets
from edgesafe.train.model import HyperbolicDualEncoder, Lift
from edgesafe.train.objective import HysacObjective

CPU = EncodeSettings(torch.device("cpu"), batch_size=5)
C = torch.tensor(1.0)


def records(photos: list[int]) -> list[Quadruplet]:
    return [
        Quadruplet(str(i), "", f"t{i}", f"u{i}", Path(f"s{photo}"), Path(f"x{i}"))
        for i, photo in enumerate(photos)
    ]


def shells(**scales: float) -> Quadruplets:
    points = torch.eye(4)
    return Quadruplets(**{name: points * scale for name, scale in scales.items()})


def test_perfect_shells() -> None:
    embedded = shells(safe_text=0.2, safe_image=0.3, unsafe_text=0.4, unsafe_image=0.5)
    found = metrics(embedded, records([0, 1, 2, 3]), C)
    assert found["recall_sum"] == 6.0 and found["auc"] == 1.0
    assert found["r1/unsafe_text/safe_image"] == found["r10/unsafe_image/unsafe_text"] == 1.0
    assert found["radius/safe_text"] == pytest.approx(float(np.arcsinh(0.2)))


def test_auc_counts_look_alikes() -> None:
    embedded = shells(safe_text=0.2, safe_image=0.3, unsafe_text=0.4, unsafe_image=0.5)
    embedded = Quadruplets(**{**embedded.__dict__, "negative_image": 0.9 * torch.eye(4)})
    found = metrics(embedded, records([0, 1, 2, 3]), C)
    assert found["auc_image_safe"] == 1.0 and found["auc_image_negative"] == 0.0
    assert found["auc_image"] == 0.5 and found["auc_text"] == 1.0 and found["auc"] == 0.75
    assert "auc_text_negative" not in found


def test_a_photo_of_several_records_is_one_item() -> None:
    embedded = shells(safe_text=0.2, safe_image=0.3, unsafe_text=0.4, unsafe_image=0.5)
    images = embedded.safe_image[[0, 0, 2, 3]]
    texts = embedded.safe_text[[0, 0, 2, 3]]
    changed = {"safe_image": images, "safe_text": texts}
    changed["unsafe_text"] = embedded.unsafe_text[[0, 2, 2, 3]]
    embedded = Quadruplets(**{**embedded.__dict__, **changed})
    found = metrics(embedded, records([0, 0, 2, 3]), C)
    assert found["r1/safe_text/safe_image"] == 1.0
    # Record 1's unsafe text lies at another photo than its own.
    assert found["r1/unsafe_text/safe_image"] == 0.75


def test_wrong_neighbours_are_misses() -> None:
    embedded = shells(safe_text=0.2, safe_image=0.3, unsafe_text=0.4, unsafe_image=0.5)
    rolled = Quadruplets(**{**embedded.__dict__, "safe_text": embedded.safe_text.roll(1, 0)})
    found = metrics(rolled, records([0, 1, 2, 3]), C)
    assert found["r1/safe_text/safe_image"] == 0.0 and found["r10/safe_text/safe_image"] == 1.0


def test_bounds() -> None:
    radii = np.linspace(0.1, 1.1, 101)
    points = torch.zeros(101, 3)
    points[:, 0] = torch.from_numpy(np.sinh(radii))
    found = class_bounds(Quadruplets(points, points, points, points), C)
    assert set(found) == {"safe_text", "safe_image", "unsafe_text", "unsafe_image"}
    expected = {"avg": 0.6, "low_05": 0.15, "up_95": 1.05}
    assert found["safe_image"] == pytest.approx(expected, abs=1e-6)


@pytest.fixture
def model(tiny_architecture: Callable[[], dict[str, Any]]) -> HyperbolicDualEncoder:
    encoder = build_encoder(tiny_architecture())
    encoder.prepare_training(TrainingPlan(lora=LoraSettings(r=2, alpha=50.0, dropout=0.5)))
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    return HyperbolicDualEncoder(encoder, Lift(encoder.dim)).train()


def test_splits_are_encoded_in_evaluation_mode(
    model: HyperbolicDualEncoder, data_folder: Path
) -> None:
    split = read_quadruplets(data_folder).records
    first, second = (encode_split(model, split, CPU) for _ in range(2))
    assert model.training and model.encoder.training
    assert torch.equal(first.safe_image, second.safe_image)
    assert torch.equal(first.unsafe_text, second.unsafe_text)
    ids, mask = model.encoder.tokenize([split[3].unsafe_text])
    with evaluation_mode(model), torch.no_grad():
        assert torch.allclose(model.encode_text(ids, mask)[0], first.unsafe_text[3], atol=1e-5)
    with torch.no_grad():
        assert not torch.allclose(model.encode_text(ids, mask)[0], first.unsafe_text[3], atol=1e-3)
    assert first.negative_image is not None and len(first.negative_image) == 6
    assert len(first.safe_text) == 12 and first.safe_text.device.type == "cpu"


def test_validation_loss_is_a_mean_over_records(
    model: HyperbolicDualEncoder, data_folder: Path
) -> None:
    embedded = encode_split(model, read_quadruplets(data_folder).records, CPU)
    only_cones = LossConfig(
        text_image=0.0, unsafe_text_unsafe_image=0.0, text_unsafe_image=0.0, unsafe_text_image=0.0
    )
    # The cones do not depend on how the records are batched.
    loss = HysacObjective(model, only_cones).split_loss
    whole, parts = (validation_loss(embedded, loss, size) for size in (12, 5))
    assert whole == pytest.approx(parts, rel=1e-5)
    everything = HysacObjective(model, LossConfig()).split_loss
    assert validation_loss(embedded, everything, 12) > whole
