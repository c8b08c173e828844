"""One of the processes of test_distributed: its part of the batch, and a short run.

Started with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set; writes its findings to a file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel

from edgesafe.train import engine
from edgesafe.train.config import read_config
from edgesafe.train.data.loader import TextTable, TrainingLoader
from edgesafe.train.data.quadruplets import read_quadruplets
from edgesafe.train.data.sampler import with_visits
from edgesafe.train.encoders.base import build_encoder
from edgesafe.train.model import HyperbolicDualEncoder, Lift
from edgesafe.train.objective import HysacObjective
from edgesafe.train.optim import prepare


def gradients(table: dict[str, Any], data: Path, rank: int, size: int) -> dict[str, torch.Tensor]:
    """Loss and gradients of one global batch of eight records."""
    config = read_config(table)
    torch.manual_seed(0)
    encoder = build_encoder(config.architecture)
    model = HyperbolicDualEncoder(encoder, Lift(encoder.dim)).train()
    prepare(model, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    records = read_quadruplets(data, config.data).records
    loader = TrainingLoader(
        records, encoder, TextTable.of(records, encoder), config.augment, seed=1
    )
    each = 8 // size
    # Uneven numbers of negatives: the odd records have one, the order puts them together.
    order = [1, 3, 5, 0, 2, 4, 6, 8]
    batch = next(loader.epoch(0, with_visits([order[rank * each : (rank + 1) * each]])))
    objective: torch.nn.Module = HysacObjective(model, config.loss)
    if size > 1:
        objective = DistributedDataParallel(objective)
    terms = objective(batch)
    terms["loss"].backward()
    found = {f"grad/{n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
    return found | {f"term/{n}": t.detach().reshape(1) for n, t in terms.items()}


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    folder, data = Path(job["folder"]), Path(job["data"])
    torch.set_num_threads(1)
    config = read_config(job["config"])
    result = engine.train(config, data, folder / "two", device="cpu", progress=False)
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    save_file(gradients(job["config"], data, rank, size), folder / f"rank{rank}.safetensors")
    (folder / f"rank{rank}.json").write_text(json.dumps(result.metrics))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
