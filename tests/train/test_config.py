from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgesafe.runtime.errors import UsageError
from edgesafe.train.config import RunConfig, load_config, read_config
from edgesafe.train.encoders.base import LoraSettings

ARCHITECTURE = {"architecture": {"name": "edge"}}


def test_defaults_are_the_papers() -> None:
    config = read_config(ARCHITECTURE)
    assert config.lora == LoraSettings(r=16, alpha=1.0, dropout=0.1)
    assert (config.optimiser.betas, config.optimiser.weight_decay) == ((0.9, 0.98), 0.2)
    assert config.optimiser.schedule == "constant"
    assert config.loss.aperture_scale == 1.0
    assert config.loss.shell_weight == 0.0
    assert config.lift.min_radius == 0.1


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'seed = 7\n[architecture]\nname = "edge"\nsize = 96\n'
        '[train]\nlr_scale = { "image.trunk" = 0.1 }\n'
        "[optimiser]\nlr = 1\nbetas = [0.9, 0.95]\n"
        '[[concepts]]\nname = "fire"\ntag = "fire"\nprompts = ["a fire", "flames"]\n'
    )
    config = load_config(tmp_path / "a.toml")
    (tmp_path / "b.json").write_text(json.dumps(config.to_dict()))
    assert load_config(tmp_path / "b.json") == config
    assert config.optimiser.lr == 1.0 and isinstance(config.optimiser.lr, float)
    assert config.plan.lr_scale == {"image.trunk": 0.1}
    assert config.concepts[0].prompts == ("a fire", "flames")
    assert config.architecture["size"] == 96


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"optimizer": {}}, 'unknown key "optimizer", did you mean "optimiser"?'),
        ({"train": {"batchsize": 8}}, 'did you mean "train.batch_size"?'),
        ({"train": {"zzz": 8}}, 'unknown key "train.zzz", known: image, text'),
        ({"train": {"epochs": "8"}}, "\"train.epochs\" must be a whole number, not '8'"),
        ({"train": {"epochs": True}}, '"train.epochs" must be a whole number, not True'),
        ({"train": {"epochs": 0}}, "train.epochs must be at least 1"),
        ({"train": {"selection": "f1"}}, "train.selection must be recall_sum, auc or loss"),
        ({"train": 3}, '"train" must be a table, not 3'),
        ({"train": {"lr_scale": {"image": "x"}}}, '"train.lr_scale.image" must be a number'),
        ({"optimiser": {"betas": [0.9]}}, '"optimiser.betas" must be a list of 2'),
        ({"optimiser": {"schedule": "linear"}}, "optimiser.schedule must be constant or cosine"),
        ({"loss": {"text_image": -1.0}}, "loss.text_image must not be negative"),
        ({"lift": {"curvature": 20.0}}, "lift.curvature must lie in 0.1..10"),
        ({"augment": {"jpeg_quality": [90, 40]}}, "augment.jpeg_quality"),
        ({"augment": {"focus_side": [0.8, 0.4]}}, "augment.focus_side"),
        ({"augment": {"size": 16}}, "augment.size"),
        ({"concepts": [{"name": "a", "tag": "b"}]}, '"concepts[0].prompts" is missing'),
        ({"data": {"safe_images": "x"}}, '"data.safe_images" must be a list'),
        ({"method": "safehysac"}, "method must be hysac or safeclip or clip"),
    ],
)
def test_errors_name_the_key(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        read_config({**ARCHITECTURE, **table}, "my.toml")
    assert message in str(error.value)
    assert str(error.value).startswith("my.toml: ")


def test_architecture_needs_a_name() -> None:
    with pytest.raises(UsageError, match="architecture.name is missing"):
        read_config({})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", b"seed =", "is not valid TOML"),
        ("a.json", b"{", "is not valid JSON"),
        ("a.json", b"[]", "the top level must be a table"),
        ("a.toml", b"\xff", "is not valid TOML"),
        ("a.yaml", b"", "ends in .toml or .json"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as error:
        load_config(tmp_path / name)
    assert message in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path / "none.toml")


def test_plain_form_round_trips(tiny_config: Callable[..., dict[str, Any]]) -> None:
    config = read_config(tiny_config(data={"safe_images": ["a/{coco_id}.jpg"]}))
    assert isinstance(config, RunConfig)
    assert read_config(config.to_dict()) == config
