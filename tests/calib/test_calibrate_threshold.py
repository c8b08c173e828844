"""`calibrate threshold` and `calibrate probe` from data to the verdicts of the next release."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgesafe.calib.calibrate_cmd import calibrate
from edgesafe.calib.calibrate_threshold_cmd import shown_threshold
from edgesafe.calib.choose_threshold import Wish, choose_threshold
from edgesafe.calib.concept_alarms import concept_alarms
from edgesafe.calib.judged import Judged
from edgesafe.calib.labelled import Labelled
from edgesafe.runtime import Moderator, PackageError, read_package, write_package
from edgesafe.runtime.errors import DataError, EdgesafeError, UsageError
from edgesafe.runtime.thresholds import Band, ConceptThreshold, Threshold
from edgesafe.runtime.verdict import Verdict


def _judged(score: float, unsafe: bool, concept: str | None = None) -> Judged:
    record = Labelled("x", "image", "x", unsafe)
    verdict = Verdict.undecided("no_threshold", modality="image", package="p")
    return Judged(record, score, score, concept, verdict)


def _sample(concept: str | None, shift: float, n: int, safe: int = 80) -> list[Judged]:
    rng = np.random.default_rng(n)
    found = [_judged(5 + shift + rng.random(), True, concept) for _ in range(n)]
    return found + [_judged(rng.random(), False, concept) for _ in range(safe)]


def test_concepts_with_enough_cases_get_their_own_and_the_others_share_one() -> None:
    judged = (
        _sample("fire", 0, 70) + _sample("knife", 3, 60) + _sample("rope", 1, 30)
        + _sample(None, 2, 40)
    )  # fmt: skip
    found = choose_threshold(judged, Wish(per_concept=True))
    assert set(found.concepts) == {"fire", "knife"}
    assert found.concepts["knife"].n == 140 and found.n == len(judged)
    # Of 59 to 92 cases none may be missed: the middle between classes of about 1 and 5 + shift.
    assert found.concepts["fire"].value == pytest.approx(3.0, abs=0.05)
    assert found.concepts["knife"].value == pytest.approx(4.5, abs=0.05)
    assert found.value == pytest.approx(3.5, abs=0.05)
    assert found.miss_rate is not None and found.miss_rate.value == 0


def test_too_few_others_draw_the_smallest_concept_in() -> None:
    judged = _sample("fire", 0, 70) + _sample("knife", 3, 60) + _sample("rope", 1, 30)
    found = choose_threshold(judged, Wish(per_concept=True))
    assert set(found.concepts) == {"fire"} and found.value == pytest.approx(3.5, abs=0.05)


def test_without_others_the_strictest_holds_for_the_unknown() -> None:
    judged = _sample("fire", 0, 70) + _sample("knife", 3, 60)
    found = choose_threshold(judged, Wish(per_concept=True))
    assert set(found.concepts) == {"fire", "knife"}
    assert found.value == found.concepts["fire"].value


def test_no_concept_with_enough_cases_is_an_error() -> None:
    with pytest.raises(DataError, match="59 unsafe ones are needed .* fire 30, rope 31"):
        choose_threshold(_sample("fire", 0, 30) + _sample("rope", 1, 31), Wish(per_concept=True))


def test_too_few_safe_cases_for_a_band_by_concept_are_counted() -> None:
    judged = _sample("fire", 0, 70, safe=20) + _sample("rope", 1, 61, safe=30)
    with pytest.raises(DataError, match="59 safe ones .* fire 70 and 20, rope 61 and 30; add"):
        choose_threshold(judged, Wish(per_concept=True, band=0.05))


def test_a_band_keeps_both_promises_or_is_not_needed() -> None:
    rng = np.random.default_rng(0)
    judged = [_judged(s, False) for s in rng.normal(0, 1, 400)]
    judged += [_judged(s, True) for s in rng.normal(1.5, 1, 400)]
    found = choose_threshold(judged, Wish(band=0.05))
    assert found.band is not None and found.band.lower == found.value < found.band.upper
    assert found.fpr is not None and found.miss_rate is not None
    assert found.fpr.value <= 0.05 and found.miss_rate.value <= 0.05
    assert "lie in it" in found.rule
    apart = choose_threshold(_sample(None, 0, 60), Wish(band=0.05))
    assert apart.band is None


@pytest.mark.parametrize("wish", [Wish(), Wish(max_miss=None, max_fpr=0.1), Wish(per_concept=True)])
def test_a_threshold_keeps_the_quantiles_of_its_scores(wish: Wish) -> None:
    judged = _sample("fire", 0, 70) + _sample("rope", 1, 80)
    found = choose_threshold(judged, wish).scores
    assert found is not None and len(found.safe) == len(found.unsafe) == 21
    unsafe = sorted(one.score for one in judged if one.record.unsafe)
    assert (found.unsafe[0], found.unsafe[-1]) == (unsafe[0], unsafe[-1])
    assert found.unsafe[10] == pytest.approx(np.median(unsafe))
    assert list(found.safe) == sorted(found.safe) and found.safe[-1] < 1 < 5 < found.unsafe[0]


def test_equal_scores_make_quantiles_that_do_not_fall() -> None:
    judged = [_judged(0.1 * (1 + i // 7 % 3) + 0.2, i % 2 == 0) for i in range(300)]
    found = choose_threshold(judged, Wish()).scores
    assert found is not None and list(found.unsafe) == sorted(found.unsafe)


def test_false_alarms_are_counted_by_concept() -> None:
    judged = _sample("fire", 0, 70) + _sample("knife", 3, 60) + _sample("rope", 1, 60, safe=0)
    judged += [_judged(9, False, "knife")] * 20
    found = choose_threshold(judged, Wish(per_concept=True))
    alarms = concept_alarms(judged, found)
    assert set(found.concepts) == {"fire", "knife", "rope"} and set(alarms) == {"fire", "knife"}
    assert (alarms["fire"].value, alarms["fire"].n) == (0, 80)
    assert (alarms["knife"].value, alarms["knife"].n) == (0.2, 100)
    lines = shown_threshold("image", found, alarms)
    own = next(line for line in lines if line.startswith("  knife"))
    assert "false alarms 20.0 % (" in own and "100 cases)" in own
    assert not any("alarms" in line for line in lines if line.startswith("  rope"))


def test_a_banded_concept_flags_only_what_lies_above_its_band() -> None:
    cases = [_judged(score, False, "knife") for score in (0.1, 0.5, 0.9)]
    band = {"knife": ConceptThreshold(0.3, (0.1, 0.4), 0.95, 9, Band(0.3, 0.6))}
    threshold = Threshold(0.7, (0.6, 0.8), 0.95, 9, None, None, "r", "0" * 64, concepts=band)
    assert concept_alarms(cases, threshold)["knife"].value == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("concepts", "told"), [(1, "one concept has its own"), (2, "2 concepts have their own")]
)
def test_the_rule_counts_the_concepts(concepts: int, told: str) -> None:
    judged = _sample(None, 2, 60) + _sample("fire", 0, 70)
    judged += _sample("knife", 3, 60) if concepts > 1 else []
    assert told in choose_threshold(judged, Wish(per_concept=True)).rule


def test_one_label_alone_is_refused() -> None:
    with pytest.raises(DataError, match="no unsafe case"):
        choose_threshold([_judged(1.0, False)], Wish())


def _colour(red: int, rng: np.random.Generator) -> Image.Image:
    pixels = rng.integers(0, 40, (16, 16, 3), dtype=np.uint8)
    pixels[..., 0] = red
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 harmless dark and 60 harmful red pictures, and one that is none."""
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    for label, low in (("safe", 0), ("unsafe", 150)):
        (folder / label).mkdir()
        for i in range(60):
            _colour(low + i, rng).save(folder / label / f"{i:02}.png")
    (folder / "safe" / "broken.png").write_bytes(b"no picture")
    return folder


def _run(*arguments: Any) -> Result:
    return CliRunner().invoke(calibrate, [str(a) for a in arguments])


def _error(result: Result) -> EdgesafeError:
    assert isinstance(result.exception, EdgesafeError), result.output
    return result.exception


def test_the_next_release_holds_the_threshold_and_the_same_models(
    tiny_package: Path, data: Path, tmp_path: Path
) -> None:
    out, page = tmp_path / "next", tmp_path / "report.html"
    ran = _run("threshold", data, "--model", tiny_package, "--out", out, "--report", page)
    assert ran.exit_code == 0, ran.output
    assert "1 could not be judged" in ran.stderr and "broken.png: not_an_image" in ran.stderr
    old, new = read_package(tiny_package), read_package(out)
    assert new.manifest.release == old.manifest.release + 1
    assert new.files == old.files
    found = new.manifest.thresholds["image"]
    assert (found.n, found.max_miss, found.confidence) == (120, 0.05, 0.95)
    assert found.interval[0] <= found.value <= found.interval[1]
    assert found.temperature is not None and found.miss_rate is not None
    assert found.miss_rate.value == 0
    assert found.scores is not None and found.scores.safe[-1] < found.scores.unsafe[0]
    assert new.manifest.thresholds["text"] == old.manifest.thresholds["text"]
    moderator = Moderator(new)
    verdict = moderator.check(data / "unsafe" / "00.png")
    assert verdict.decision == "unsafe" and (verdict.probability or 0) > 0.5
    assert moderator.check(data / "safe" / "59.png").decision == "safe"
    html = page.read_text(encoding="utf-8")
    assert html.count("<svg") == 2 and "distance from the root" in html
    assert "unsafe (60)" in html and "http" not in html.partition("<body")[2]


def test_too_few_samples_say_how_many_are_needed(
    tiny_package: Path, data: Path, tmp_path: Path
) -> None:
    ran = _run(
        "threshold", data, "--model", tiny_package, "--out", tmp_path / "p", "--max-miss", 0.01
    )
    assert "299 are needed, 239 more" in str(_error(ran))
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--modality", "text"], "holds no texts"),
        (["--modality", "both"], "holds no texts"),
        (["--max-fpr", "0.1", "--band", "0.1"], "goes without"),
    ],
)
def test_wrong_usage(
    tiny_package: Path, data: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    ran = _run("threshold", data, "--model", tiny_package, "--out", tmp_path / "p", *arguments)
    assert message in str(_error(ran)) and _error(ran).exit_status == 2


def test_a_modality_without_encoder_is_pointed_out(
    flat_parts: Callable[..., Any], tmp_path: Path
) -> None:
    write_package(tmp_path / "flat", *flat_parts())
    (tmp_path / "d.jsonl").write_text('{"text": "a", "label": "safe"}\n')
    ran = _run(
        "threshold", tmp_path / "d.jsonl", "--model", tmp_path / "flat", "--out", tmp_path / "p"
    )
    assert "has no text encoder" in str(_error(ran))


def test_only_a_package_is_overwritten(tiny_package: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    arguments = ["threshold", data, "--model", tiny_package, "--out", tmp_path / "photos"]
    for more in ([], ["--overwrite"]):
        assert isinstance(_error(_run(*arguments, *more)), UsageError)
    assert (tmp_path / "photos" / "a.jpg").exists()


def test_json_is_the_result_on_one_line(tiny_package: Path, tmp_path: Path) -> None:
    lines = [{"text": "a knife", "label": "unsafe"}] * 3 + [{"text": "a dog", "label": "safe"}]
    listing = tmp_path / "t.jsonl"
    listing.write_text("\n".join(map(json.dumps, lines)))
    ran = _run(
        "threshold", listing, "--model", tiny_package, "--out", tmp_path / "p", "--json",
        "--max-miss", 0.5, "--confidence", 0.7, "--modality", "text",
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert found["package"].startswith("tiny@2#") and found["unjudged"] == []
    assert found["thresholds"]["text"]["max_miss"] == 0.5
    assert Moderator.load(tmp_path / "p").check_text("knife").decision == "unsafe"


def test_a_promise_that_costs_too_much_is_pointed_out(tiny_package: Path, tmp_path: Path) -> None:
    lines = [{"text": "a knife", "label": "safe"}] * 3 + [{"text": "a dog", "label": "unsafe"}] * 3
    listing = tmp_path / "t.jsonl"
    listing.write_text("\n".join(map(json.dumps, lines)))
    ran = _run(
        "threshold", listing, "--model", tiny_package, "--out", tmp_path / "p", "--max-miss", 0.5,
        "--confidence", 0.8,
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert "warning: 100 % of the safe texts are flagged" in ran.stderr
    assert "probability  none" in ran.stdout


def test_a_concept_that_flags_most_of_its_own_is_pointed_out(
    tiny_package: Path, tmp_path: Path
) -> None:
    # The labels are the wrong way round: what is to be flagged is the safer of the two.
    rows = [{"text": "a knife", "label": "safe"}] * 3 + [{"text": "a dog", "label": "unsafe"}] * 3
    listing, page = tmp_path / "t.jsonl", tmp_path / "r.html"
    listing.write_text("\n".join(map(json.dumps, rows)))
    ran = _run(
        "threshold", listing, "--model", tiny_package, "--out", tmp_path / "p", "--max-miss", 0.5,
        "--confidence", 0.8, "--per-concept", "--report", page,
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert "warning: the threshold of 'knife' flags 100 % of its 3 safe texts" in ran.stderr
    assert "false alarms" in page.read_text(encoding="utf-8").partition("<th>knife</th>")[2]


def test_max_fpr_chooses_without_a_guarantee(
    tiny_package: Path, data: Path, tmp_path: Path
) -> None:
    ran = _run(
        "threshold", data, "--model", tiny_package, "--out", tmp_path / "p", "--max-fpr", 0.05
    )
    assert ran.exit_code == 0, ran.output
    found = read_package(tmp_path / "p").manifest.thresholds["image"]
    assert found.max_miss is None and "balanced accuracy" in found.rule


def test_a_probe_makes_a_flat_package_judge(
    flat_parts: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    fields, files = flat_parts()
    del fields["probe"], files["probe.json"], fields["thresholds"]["image"]
    bare = tmp_path / "bare"
    write_package(bare, fields, files)
    with pytest.raises(PackageError, match="no probe for images, .* calibrate probe"):
        Moderator.load(bare)
    out = tmp_path / "probed"
    page = tmp_path / "probe.html"
    wish = ["--max-miss", 0.1, "--confidence", 0.9, "--report", page]
    ran = _run("probe", data, "--model", bare, "--out", out, *wish)
    assert ran.exit_code == 0, ran.output
    assert "probe of 60 cases" in ran.output
    assert "logit of the probe" in page.read_text(encoding="utf-8")
    package = read_package(out)
    assert package.manifest.release == 2 and package.manifest.probe == "probe.json"
    found = package.manifest.thresholds["image"]
    assert found.scores is not None and found.scores.safe[10] < found.scores.unsafe[10]
    assert found.n == 60  # the half that the probe has not seen
    moderator = Moderator(package)
    decisions = [moderator.check(data / "unsafe" / f"{i:02}.png").decision for i in range(9)]
    assert decisions == ["unsafe"] * 9
    assert moderator.check(data / "safe" / "00.png").decision == "safe"


def test_a_probe_with_too_few_cases_names_the_split(
    flat_parts: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    write_package(tmp_path / "bare", *flat_parts())
    wish = ["probe", data, "--model", tmp_path / "bare", "--out", tmp_path / "p"]
    error = _error(_run(*wish))
    assert "of the 60 unsafe images 30 are left for the threshold: --fit-share 0.5" in str(error)
    # 59 of 118 are left; of 60 there is but one to spare, which is too little for a fit.
    assert "add 57 unsafe images (117 in all), or pass a larger" in str(error)
    assert error.exit_status == 3 and not (tmp_path / "p").exists()
    error = _error(_run(*wish, "--max-miss", "0.07"))  # needs 42
    assert "or pass --fit-share 0.3, a larger --max-miss" in str(error)
    assert _run(*wish, "--max-miss", "0.07", "--fit-share", "0.3").exit_code == 0


def test_a_probe_counts_what_cannot_be_judged(
    flat_parts: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    write_package(tmp_path / "bare", *flat_parts())
    shutil.copytree(data, tmp_path / "d")
    for name in (tmp_path / "d" / "unsafe").iterdir():
        if int(name.stem) < 30:
            name.write_bytes(b"no picture")
    ran = _run(
        "probe", tmp_path / "d", "--model", tmp_path / "bare", "--out", tmp_path / "p",
        "--max-miss", 0.1,
    )  # fmt: skip
    assert "cannot be judged. Missing at most 10 %" in str(_error(ran))


def test_a_hyperbolic_package_needs_no_probe(
    tiny_package: Path, data: Path, tmp_path: Path
) -> None:
    ran = _run("probe", data, "--model", tiny_package, "--out", tmp_path / "p")
    assert "scores without a probe" in str(_error(ran))


def test_a_half_probed_package_judges_what_it_can(
    flat_parts: Callable[..., Any], tiny_parts: Callable[..., Any], tmp_path: Path
) -> None:
    """Both modalities have encoders; only images have a probe."""
    fields, files = flat_parts()
    whole_fields, whole = tiny_parts()
    fields["encoders"]["text"] = {**whole_fields["encoders"]["text"], "outputs": ["embedding"]}
    files |= {name: whole[name] for name in ("text.onnx", "tokenizer.json")}
    moderator = Moderator(write_package(tmp_path / "p", fields, files))
    red = np.full((16, 16, 3), (255, 0, 0), np.uint8)
    assert moderator.check(red).decision == "unsafe"
    with pytest.raises(PackageError, match="no probe for texts"):
        moderator.check_text("a knife")
    del fields["probe"], files["probe.json"]
    with pytest.raises(PackageError, match="no probe for images or texts"):
        Moderator(write_package(tmp_path / "q", fields, files))
