"""Trains one network of the twin: the networks, losses and schedule of `edgesafe train pose`.

The loop is its own because the samples lie in memory: at this size, cutting them out of files
would take as long as learning from them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgesafe.samples.twin.part import TwinPart
from edgesafe.samples.twin.samples import ROI_SCALE, SIZE
from edgesafe.train.ema import RunningMean
from edgesafe.train.pose.checkpoint import NetworkInfo, PoseCheckpoint
from edgesafe.train.pose.config import FitConfig, RoiConfig
from edgesafe.train.pose.network import RoiNetwork, architecture_of, input_preprocess
from edgesafe.train.pose.schedule import adamw, lr_factor, set_lr
from edgesafe.train.pose.tasks import RoiObjective

__all__ = ["Settings", "train_network"]

Pool = dict[str, NDArray[Any]]

_LOG_EVERY = 200


@dataclass(frozen=True)
class Settings:
    """How a network is trained.

    Attributes:
        head: ``vote`` or ``direct``.
        seed: Of its weights and of the order of the samples.
        minutes: Of processor time; the schedule is fitted to them.
        width: Channels of its stem.
        hidden: Channels of its head.
    """

    head: str
    seed: int
    minutes: float
    width: int = 24
    hidden: int = 96


def train_network(
    pool: Pool,
    part: TwinPart,
    settings: Settings,
    out: Path,
    *,
    about: dict[str, Any],
    tell: Callable[[str], None],
) -> dict[str, float]:
    """Train a network and write its checkpoint.

    Args:
        pool: Samples of `make_pool`.
        part: The object.
        settings: How.
        out: Folder of the checkpoint.
        about: What the checkpoint says of the data.
        tell: Called with lines of a log.

    Returns:
        ``steps``, and ``minutes`` of processor time that the loop took.
    """
    fit = FitConfig(max_minutes=settings.minutes, clock="cpu", ema=0.995)
    config = RoiConfig("tiny", settings.head, size=SIZE, width=settings.width,
                       hidden=settings.hidden, roi_scale=ROI_SCALE, fit=fit)  # fmt: skip
    architecture = architecture_of(
        profile=config.profile, trunk=config.trunk, head=config.head, size=SIZE,
        width=config.width, hidden=config.hidden, keypoints=len(part.known.keypoints), objects=1,
    )  # fmt: skip
    torch.manual_seed(settings.seed)
    network = RoiNetwork(architecture)
    network.to(memory_format=torch.channels_last)
    objective = RoiObjective(network, config, [part.points], [part.known.diameter])
    optimiser, mean = adamw(network, fit), RunningMean(network, fit.ema)
    rng = np.random.default_rng([settings.seed, 4])
    order: NDArray[np.int64] = np.empty(0, np.int64)
    started, step, progress = time.process_time(), 0, 0.0
    while progress < 1:
        if len(order) < fit.batch_size:
            order = np.concatenate([order, rng.permutation(len(pool["pixels"]))])
        chosen, order = np.sort(order[: fit.batch_size]), order[fit.batch_size :]
        set_lr(optimiser, lr_factor(progress, fit), fit)
        terms = objective(_batch(pool, chosen, rng), progress)
        optimiser.zero_grad(set_to_none=True)
        terms["loss"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), fit.clip_norm)
        optimiser.step()
        step += 1
        mean.update(network, step)
        spent = (time.process_time() - started) / 60
        progress = spent / settings.minutes
        if step % _LOG_EVERY == 0:
            tell(
                f"step {step}, {spent:.2f} of {settings.minutes:g} minutes, "
                f"loss {float(terms['loss'].detach()):.3f}, "
                f"error {float(terms['error']):.2f}"
            )
    figures = {"steps": float(step), "minutes": spent, "loss": float(terms["loss"].detach())}
    info = NetworkInfo(
        name="roi",
        kind="roi",
        objects=(part.known.id,),
        architecture=architecture,
        preprocess=input_preprocess(SIZE, SIZE).to_dict(),
        options={"roi_scale": ROI_SCALE},
        config=asdict(config),
        metrics=figures,
    )
    blank = PoseCheckpoint((), {}, (part.known,), about, settings.seed)
    blank.with_network(info, mean.network).save(out)
    return figures


def _batch(pool: Pool, chosen: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
    """Return samples, in another light each time."""
    labels = {n: torch.from_numpy(v[chosen]) for n, v in pool.items() if n != "pixels"}
    pixels = torch.from_numpy(pool["pixels"][chosen]).permute(0, 3, 1, 2).float()
    count = len(chosen)
    gain = rng.normal(1, 0.12, (count, 1, 1, 1)) * rng.normal(1, 0.05, (count, 3, 1, 1))
    lift = rng.normal(0, 10, (count, 1, 1, 1))
    shown = pixels * torch.from_numpy(gain).float() + torch.from_numpy(lift).float()
    return {
        "pixels": shown.clamp_(0, 255) / 127.5 - 1,
        "object": torch.zeros(count, dtype=torch.int64),
        **labels,
    }
