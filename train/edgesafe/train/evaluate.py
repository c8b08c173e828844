"""What is measured on a split: recalls, AUC of the distance from the root, bounds of the classes.

A split is always encoded in evaluation mode: the released code forgot that, and 181 dropout
modules made its embeddings random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from edgesafe.calib.statistics import auc_between
from edgesafe.train import lorentz
from edgesafe.train.data.loader import ImageLoader, TextTable
from edgesafe.train.data.quadruplets import Quadruplet
from edgesafe.train.gather import gather_rows, world_size
from edgesafe.train.losses import Quadruplets
from edgesafe.train.model import SafetyModel

_T = TypeVar("_T")

CHUNK = 1024
RANKS = (1, 10)
RECALLS = (
    ("safe_text", "safe_image"),
    ("safe_image", "safe_text"),
    ("safe_text", "unsafe_image"),
    ("unsafe_image", "safe_text"),
    ("unsafe_text", "safe_image"),
    ("safe_image", "unsafe_text"),
    ("unsafe_text", "unsafe_image"),
    ("unsafe_image", "unsafe_text"),
)
"""(query, pool) of every recall."""
RECALL_SUM = RECALLS[:6]
"""Those whose R@1 add up to ``recall_sum``, as the released code selects its model."""
CLASSES = ("safe_text", "safe_image", "unsafe_text", "unsafe_image")


@dataclass(frozen=True)
class EncodeSettings:
    """How a split is encoded.

    Attributes:
        device: Where the model is.
        bf16: Whether the towers run under bf16 autocast.
        workers: Processes that read images.
        batch_size: Images or texts per forward pass.
    """

    device: torch.device
    bf16: bool = False
    workers: int = 0
    batch_size: int = 64


def encode_split(
    model: SafetyModel,
    records: Sequence[Quadruplet],
    settings: EncodeSettings,
    *,
    texts: TextTable | None = None,
    text_features: Tensor | None = None,
) -> Quadruplets:
    """Embeds every record of a split without augmentation, each photo and text once.

    The processes of a distributed run share the work; each gets all embeddings.

    Args:
        model: The model; its training mode is restored afterwards.
        records: The split.
        settings: Device and batch size.
        texts: Table that ``text_features`` belongs to.
        text_features: Features of a frozen text tower, (texts, d).

    Returns:
        Embeddings (N, d), float32 on the CPU; negatives of the records that have one.
    """
    paths = list(dict.fromkeys(p for r in records for p in _images(r)))
    captions = list(dict.fromkeys(t for r in records for t in _texts(r)))
    with evaluation_mode(model), torch.no_grad():
        images = _encode_images(model, paths, settings)
        if text_features is not None and texts is not None:
            rows = torch.tensor([texts.row(t) for t in captions], device=text_features.device)
            embedded = model.place_text(text_features[rows]).float().cpu()
        else:
            features = encode_texts(model, captions, settings)
            embedded = model.place_text(features).float().cpu()
    image_row = {path: i for i, path in enumerate(paths)}
    text_row = {text: i for i, text in enumerate(captions)}
    negative_images = [r.negative_image for r in records if r.negative_image]
    negative_texts = [r.negative_text for r in records if r.negative_text]
    return Quadruplets(
        safe_text=embedded[[text_row[r.safe_text] for r in records]],
        safe_image=images[[image_row[r.safe_image] for r in records]],
        unsafe_text=embedded[[text_row[r.unsafe_text] for r in records]],
        unsafe_image=images[[image_row[r.unsafe_image] for r in records]],
        negative_text=embedded[[text_row[t] for t in negative_texts]] if negative_texts else None,
        negative_image=images[[image_row[p] for p in negative_images]] if negative_images else None,
    )


def encode_texts(model: SafetyModel, texts: Sequence[str], settings: EncodeSettings) -> Tensor:
    """Features (not placed) of texts in evaluation mode, (N, d) float32 on the device."""
    ids = model.encoder.token_ids(texts)
    # Rows of like length share a batch, so that little is spent on padding.
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    own = _share(order)
    parts = [torch.empty(0, model.encoder.dim, device=settings.device)]
    with evaluation_mode(model), torch.no_grad():
        for start in range(0, len(own), settings.batch_size):
            rows = [ids[i] for i in own[start : start + settings.batch_size]]
            input_ids, mask = model.encoder.padding(rows)
            with torch.autocast(settings.device.type, torch.bfloat16, enabled=settings.bf16):
                features = model.encoder.text(
                    input_ids.to(settings.device), mask.to(settings.device)
                )
            parts.append(features.float())
        gathered = gather_rows(torch.cat(parts))
    features = torch.empty_like(gathered)
    features[torch.tensor(order, device=settings.device)] = gathered
    return features


def metrics(
    embedded: Quadruplets,
    records: Sequence[Quadruplet],
    curvature: Tensor | None,
) -> dict[str, float]:
    """Recalls, AUCs and mean distances from the root.

    Without a curvature the embeddings have length 1 and are ranked by their cosine; there is no
    root then, and no AUC.

    A query counts as a hit where the retrieved item is the same photo or text as its own
    counterpart: data sets use a photo in several records.

    Returns:
        ``r1/QUERY/POOL`` and ``r10/QUERY/POOL`` for `RECALLS`, ``recall_sum``; ``auc_image`` and
        ``auc_text`` (unsafe against safe and its negatives) with ``auc``, their mean; the same
        against one kind alone as ``…_safe`` and ``…_negative``; ``radius/CLASS``.
    """
    result: dict[str, float] = {}
    for query, pool in RECALLS:
        for k, value in _recalls(embedded, records, curvature, query, pool).items():
            result[f"r{k}/{query}/{pool}"] = value
    result["recall_sum"] = sum(result[f"r1/{query}/{pool}"] for query, pool in RECALL_SUM)
    if curvature is None:
        return result
    for modality in ("image", "text"):
        safe = radii(embedded, f"safe_{modality}", curvature)
        unsafe = radii(embedded, f"unsafe_{modality}", curvature)
        result[f"auc_{modality}_safe"] = auc_between(safe, unsafe)
        everything_safe = safe
        if getattr(embedded, f"negative_{modality}") is not None:
            negative = radii(embedded, f"negative_{modality}", curvature)
            result[f"auc_{modality}_negative"] = auc_between(negative, unsafe)
            everything_safe = np.concatenate([safe, negative])
        result[f"auc_{modality}"] = auc_between(everything_safe, unsafe)
    result["auc"] = (result["auc_image"] + result["auc_text"]) / 2
    for name in CLASSES:
        result[f"radius/{name}"] = float(radii(embedded, name, curvature).mean())
    return result


def validation_loss(
    embedded: Quadruplets,
    loss: Callable[[Quadruplets, slice], float],
    batch_size: int,
) -> float:
    """Mean loss over batches of the split, in its own order.

    Args:
        embedded: The split.
        loss: `edgesafe.train.objective.Objective.split_loss`: of some rows, and which these are.
        batch_size: Rows per batch.
    """
    total = 0.0
    n = len(embedded.safe_text)
    for start in range(0, n, batch_size):
        part = slice(start, min(start + batch_size, n))
        batch = Quadruplets(
            **{name: getattr(embedded, name)[part] for name in CLASSES},
            negative_text=embedded.negative_text,
            negative_image=embedded.negative_image,
        )
        total += loss(batch, part) * (part.stop - part.start)
    return total / n


def class_bounds(embedded: Quadruplets, curvature: Tensor) -> dict[str, dict[str, float]]:
    """``avg``, ``low_05`` and ``up_95`` of the distance from the root per class."""
    bounds = {}
    for name in CLASSES:
        values = radii(embedded, name, curvature)
        low, high = np.quantile(values, [0.05, 0.95])
        bounds[name] = {"avg": float(values.mean()), "low_05": float(low), "up_95": float(high)}
    return bounds


def training_bounds(
    model: SafetyModel,
    records: Sequence[Quadruplet],
    settings: EncodeSettings,
    *,
    limit: int,
    seed: int,
) -> dict[str, dict[str, float]]:
    """`class_bounds` on training data; none without a curvature, for there is no root then.

    Args:
        model: The model; its training mode is restored afterwards.
        records: The training records.
        settings: Device and batch size.
        limit: How many of them to draw; 0 takes them all.
        seed: Of the draw.
    """
    if model.curvature is None:
        return {}
    if limit and limit < len(records):
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(records), generator=generator)[:limit].sort().values
        records = [records[int(i)] for i in chosen]
    return class_bounds(encode_split(model, records, settings), model.curvature)


def radii(embedded: Quadruplets, name: str, curvature: Tensor) -> np.ndarray:
    """Distances from the root of one class, (N,) float64."""
    points = cast(Tensor, getattr(embedded, name)).double()
    c = curvature.detach().cpu().double()
    return np.asarray(lorentz.root_distance(points, c).numpy())


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, whatever it was before outside."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _encode_images(model: SafetyModel, paths: Sequence[Path], settings: EncodeSettings) -> Tensor:
    loader = ImageLoader(
        model.encoder.preprocess,
        workers=settings.workers,
        batch_size=settings.batch_size,
        pin=settings.device.type == "cuda",
    )
    parts = [torch.empty(0, model.encoder.dim, device=settings.device)]
    for pixels in loader.batches(_share(list(paths))):
        with torch.autocast(settings.device.type, torch.bfloat16, enabled=settings.bf16):
            features = model.encoder.image(pixels.to(settings.device, non_blocking=True))
        parts.append(model.place_image(features).float())
    return gather_rows(torch.cat(parts)).cpu()


def _share(items: list[_T]) -> list[_T]:
    """This process's part of a list; the parts in the order of the ranks make the whole."""
    size = world_size()
    if size == 1:
        return items
    step = -(-len(items) // size)
    rank = torch.distributed.get_rank()
    return items[rank * step : (rank + 1) * step]


def _recalls(
    embedded: Quadruplets,
    records: Sequence[Quadruplet],
    curvature: Tensor | None,
    query: str,
    pool: str,
) -> dict[int, float]:
    queries, items = getattr(embedded, query), getattr(embedded, pool)
    names = [str(getattr(record, pool)) for record in records]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    own = torch.tensor([number[name] for name in names])
    # Each distinct item once, or copies of one item would fill the first ranks.
    place = {name: i for i, name in reversed(list(enumerate(names)))}
    first = torch.tensor([place[name] for name in number])
    items = items[first]
    hits = {k: 0 for k in RANKS}
    c = None if curvature is None else curvature.detach().cpu()
    for start in range(0, len(queries), CHUNK):
        some = queries[start : start + CHUNK]
        distances = -some @ items.T if c is None else lorentz.pairwise_distance(some, items, c)
        ranked = distances.topk(min(max(RANKS), len(items)), largest=False).indices
        match = ranked == own[start : start + CHUNK, None]
        for k in RANKS:
            hits[k] += int(match[:, :k].any(dim=1).sum())
    return {k: hits[k] / len(queries) for k in RANKS}


def _images(record: Quadruplet) -> list[Path]:
    every = (record.safe_image, record.unsafe_image, record.negative_image)
    return [path for path in every if path is not None]


def _texts(record: Quadruplet) -> list[str]:
    return [t for t in (record.safe_text, record.unsafe_text, record.negative_text) if t]
