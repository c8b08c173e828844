"""Nothing but tensors comes out of a file; the group of commands needs no torch."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from edgesafe.runtime.errors import CheckpointError
from edgesafe.train.importing.adapters import merge_adapters
from edgesafe.train.importing.weights import read_weights

GOOD = {"a.weight": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}


class Boom:
    """A pickle that would run code."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (open, (str(self.marker),))


def test_tensors_come_out_as_they_are(tmp_path: Path) -> None:
    half = {**GOOD, "a.weight": GOOD["a.weight"].half()}
    torch.save(half, tmp_path / "w.pth")
    torch.save({"state_dict": GOOD, "epoch": 3}, tmp_path / "w.bin")
    save_file(GOOD, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.bin", "w.safetensors"):
        found = read_weights(tmp_path / name)
        assert found.tensors.keys() == GOOD.keys()
        assert torch.equal(found.tensors["a.weight"], GOOD["a.weight"])
        assert found.tensors["a.weight"].dtype == torch.float32
        assert found.tensors["n"].dtype == torch.int64 and len(found.digest) == 64


def test_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    torch.save({"a": Boom(tmp_path / "marker")}, tmp_path / "boom.pth")
    (tmp_path / "marker").write_text("")
    with pytest.raises(CheckpointError, match="is refused: it holds more than tensors .*open"):
        read_weights(tmp_path / "boom.pth")
    torch.save({"model": GOOD, "config": SimpleNamespace(a=1)}, tmp_path / "omega.pth")
    with pytest.raises(CheckpointError, match="more than tensors .*SimpleNamespace"):
        read_weights(tmp_path / "omega.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_program_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="TorchScript archive, which is a program"):
        read_weights(tmp_path / "w.pt")


def test_other_files_are_refused(tmp_path: Path) -> None:
    def refused(name: str, message: str) -> None:
        with pytest.raises(CheckpointError, match=message):
            read_weights(tmp_path / name)

    (tmp_path / "w.ckpt").write_bytes(b"x")
    refused("w.ckpt", r"read from \.safetensors")
    refused("none.pth", "cannot be read")
    refused("none.safetensors", "cannot be read")
    (tmp_path / "w.pth").write_bytes(b"no pickle")
    refused("w.pth", "is refused: it cannot be read as tensors .*Fetch it again")
    (tmp_path / "w.safetensors").write_bytes(b"\xff" * 20)
    refused("w.safetensors", "is broken")
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    refused("list.pt", "holds a list")
    torch.save({"a": 3}, tmp_path / "number.pt")
    refused("number.pt", "'a' is a int, not a tensor")
    torch.save({}, tmp_path / "empty.pt")
    refused("empty.pt", "holds no tensors")
    torch.save({"a": torch.tensor([1.0, float("inf")])}, tmp_path / "inf.pt")
    refused("inf.pt", "not finite")


def test_shards(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "1.safetensors")
    save_file({"b": torch.zeros(3)}, tmp_path / "2.safetensors")
    index = tmp_path / "model.safetensors.index.json"

    def write(table: dict[str, str]) -> None:
        index.write_text(json.dumps({"weight_map": table}))

    write({"a": "1.safetensors", "b": "2.safetensors"})
    assert set(read_weights(index).tensors) == {"a", "b"}
    for table, message in (
        ({"a": "1.safetensors", "c": "2.safetensors"}, "the shards lack 'c'"),
        ({"a": "../1.safetensors"}, "outside of its folder"),
    ):
        write(table)
        with pytest.raises(CheckpointError, match=message):
            read_weights(index)
    index.write_text("{}")
    with pytest.raises(CheckpointError, match="is not an index of shards"):
        read_weights(index)


def test_adapters_of_different_ranks_are_refused() -> None:
    state = {}
    for name, rank in (("a", 2), ("b", 3)):
        state |= {
            f"{name}.weight": torch.ones(4, 5),
            f"{name}.lora_A.weight": torch.ones(rank, 5),
            f"{name}.lora_B.weight": torch.ones(4, rank),
        }
    with pytest.raises(CheckpointError, match=r"different ranks \[2, 3\]"):
        merge_adapters(state, "file")


def test_the_group_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from edgesafe.calib.import_cmd import COMMANDS, import_\n"
        "done = CliRunner().invoke(import_, ['--help'])\n"
        "assert done.exit_code == 0, done.output\n"
        "assert all(name in done.output for name in COMMANDS)\n"
        "assert 'torch' not in sys.modules\n"
    )
    paths = ":".join(path for path in sys.path if path)
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": paths})


def test_a_file_that_is_no_pickle_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(b"junk" * 100)
    with pytest.raises(CheckpointError, match=r"cannot be read as tensors \([A-Za-z]"):
        read_weights(tmp_path / "model.pth")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_any_form_is_named_in_our_words(
    tmp_path: Path, legacy: bool, protocol: int
) -> None:
    path, marker = tmp_path / "boom.pth", tmp_path / "marker"
    content = {"a": Boom(marker), "b": SimpleNamespace(a=1), "c": Boom(marker)}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(CheckpointError) as error:
            read_weights(path)
    assert not seen and not marker.exists()
    said = str(error.value)
    assert "it asks for io.open, types.SimpleNamespace" in said
    assert "weights_only" not in said and "torch.load" not in said and "PyTorch 2" not in said


def test_a_plain_pickle_with_code_is_named(tmp_path: Path) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        path = tmp_path / f"{protocol}.bin"
        path.write_bytes(pickle.dumps([Boom(tmp_path / "m"), Boom(tmp_path / "n")], protocol))
        with pytest.raises(CheckpointError, match=r"it asks for (io|_io)\.open\)"):
            read_weights(path)
    assert not (tmp_path / "m").exists()


def test_tensors_in_a_newer_pickle(tmp_path: Path) -> None:
    torch.save(GOOD, tmp_path / "w.pth", pickle_protocol=4)
    with pytest.raises(CheckpointError, match="pickle of protocol 4, .* as safetensors"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.9, 0.99])
def test_half_a_file_is_broken(tmp_path: Path, legacy: bool, share: float) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": torch.rand(500)}, path, _use_new_zipfile_serialization=not legacy)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match="is broken: .* Fetch it again") as error:
        read_weights(path)
    assert "code" not in str(error.value)
