"""One of the processes of test_pose_distributed: a short run, and what it ended with.

Started with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from edgesafe.train.pose import fit
from edgesafe.train.pose.config import read_pose_config
from edgesafe.train.pose.engine import train_pose


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(job["folder"])
    torch.set_num_threads(1)
    seen: dict[str, torch.Tensor] = {}
    step = fit.Fit._step

    def watched(self: fit.Fit, batch: fit.Batch) -> dict[str, torch.Tensor]:
        values = step(self, batch)
        seen[f"pixels/{self.place.step:03d}"] = batch["pixels"].contiguous().clone()
        seen.update({f"weight/{n}": p.detach() for n, p in self.task.network.named_parameters()})
        return values

    fit.Fit._step = watched  # type: ignore[method-assign]
    config = read_pose_config(job["config"])
    train_pose(config, [Path(job["data"])], folder / "two", device="cpu", progress=False)
    plain = {name: value.contiguous() for name, value in seen.items()}
    save_file(plain, folder / f"rank{torch.distributed.get_rank()}.safetensors")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
