"""What training computes, pinned: it may change only together with `ENGINE_VERSION`.

`training.json` holds, for each case, the loss terms and the validation metric of every epoch, a projection of
the delivered weights, and for each platform on which it was written the SHA-256 of those weights. Values are
compared within a tolerance that covers other CPUs and other releases of torch; on a listed platform the
weights must be equal to the bit.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import engine_lab as toys
import numpy as np
import pytest
import torch
import videos

import pmbench as pm
from pmbench.store.keys import ENGINE_VERSION
from pmbench.training.pretrained import tensors_digest

GOLDEN = Path(__file__).with_name("training.json")
RTOL, ATOL = 5e-4, 5e-5
ONE_SAMPLE = 100 / 12  # percent of the smallest validation part: rounding may flip one sample
ADVICE = (
    "what training computes has changed. If that is meant, raise ENGINE_VERSION: every stored stage is then "
    "trained again, and records of earlier versions no longer match. Then rewrite this file: "
    "PMBENCH_REWRITE_GOLDEN=1 pytest tests/golden/test_training.py"
)

SHORT = toys.RECIPE.but(epochs=3, batch_size=12)
SMALL = SHORT.but(batch_size=4)
WARM = SHORT.but(schedule="cosine", warmup=0.3, select="best")
STEPPED = SHORT.but(schedule="step", milestones=(0.4, 0.8), clip=0.5)


@dataclass(frozen=True)
class Case:
    """A stage and what it is trained in."""

    stage: pm.Stage
    recipe: pm.Recipe = SHORT
    protocol: str = "validated"
    dataset: Callable[[], pm.Dataset] = toys.Toy


def videos_dataset() -> pm.Dataset:
    made = videos.Videos()
    made.__dict__["backbones"] = {"rgb": "cnn3d-8", "flow": "cnn3d-8", "sound": "mlp-8", "face": "cnn2d-8"}
    return made


FUSED = pm.EarlyFusion(("near", "far"))
CASES = {
    "classifier, warm-up, cosine, best epoch": Case(toys.Plain("wave", dropout=0.2, select="best"), WARM),
    "classifier, steps, clipped gradients": Case(toys.Plain("near", optimizer="sgd"), STEPPED),
    "validation carved by groups": Case(toys.Plain(optimizer="adam", select="best"), protocol="people"),
    "fusion of pooled features": Case(FUSED),
    "fusion of maps": Case(pm.EarlyFusion(("wave", "echo"))),
    "fine-tuned streams": Case(pm.JointLateFusion((pm.Stream("near"), pm.Stream("wave")))),
    "frozen teacher": Case(toys.Imitator(toys.Plain("far"))),
    "two optimizers": Case(toys.Adversarial(), WARM),
    "unlabelled and unpaired samples": Case(pm.Distill(FUSED, ("near",)), protocol="few-4+privileged-50"),
    "pseudo-labels": Case(pm.PseudoLabel(FUSED, ("near",)), protocol="few-4"),
    "augmentation": Case(toys.Plain("wave"), dataset=toys.Jittered),
    "another draw": Case(pm.Stream("near", replica=1)),
    "clips and vectors from files": Case(pm.EarlyFusion(("rgb", "sound")), SMALL, "one", videos_dataset),
    "clips on one grid": Case(pm.EarlyFusion(("rgb", "flow")), SMALL, "one", videos_dataset),
}  # fmt: skip


def this_platform() -> str:
    """Release of torch and kind of CPU: where both are equal, bits are."""
    cpu = platform.processor()
    if (info := Path("/proc/cpuinfo")).exists():
        lines = (line.partition(":") for line in info.read_text(encoding="utf-8").splitlines())
        found = {name.strip(): value.strip() for name, _, value in lines}
        cpu = "-".join(found.get(name, "") for name in ("vendor_id", "cpu family", "model", "model name"))
    return (
        f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {platform.machine()}, {cpu}"
    )


def trained(case: Case, root: Path) -> tuple[dict[str, object], str]:
    """(values to compare within a tolerance, SHA-256 of the delivered weights)."""
    dataset = case.dataset()
    if isinstance(dataset, videos.Videos):
        source = videos.write(root / "source", each=4)
        dataset.__dict__["find_source"] = lambda: source
    lab = toys.Lab(root, dataset, case.protocol, recipe=case.recipe)
    training = lab.training(case.stage)
    weights = training.run().state_dict()
    rows = list(csv.DictReader(io.StringIO(training.curve_csv())))
    curve = {name: [float(row[name]) for row in rows] for name in rows[0] if name != "epoch"}
    rng = np.random.Generator(np.random.PCG64(1))
    projection = {
        name: float(
            tensor.double().numpy().ravel() @ rng.standard_normal(tensor.numel()) / tensor.numel() ** 0.5
        )
        for name, tensor in sorted(weights.items())
    }
    values = {"curve": curve, "selected": training.describe()["selected"]["epoch"], "weights": projection}
    return values, tensors_digest({n: t.contiguous() for n, t in weights.items()})


def differences(found: dict, pinned: dict) -> list[str]:
    """What differs beyond the tolerance."""
    problems = []
    for group in ("curve", "weights"):
        if found[group].keys() != pinned[group].keys():
            return [f"{group}: names {sorted(found[group])}, pinned {sorted(pinned[group])}"]
        for name, value in found[group].items():
            tolerance = ONE_SAMPLE if name == "validation" else ATOL
            if not np.allclose(value, pinned[group][name], rtol=RTOL, atol=tolerance):
                problems.append(f"{group}, {name}: {value}, pinned {pinned[group][name]}")
    return problems


@pytest.mark.parametrize("name", CASES)
def test_training_computes_what_is_pinned(name, tmp_path):
    found, digest = trained(CASES[name], tmp_path)
    golden = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    golden = golden or {"engine_version": 0, "cases": {}}
    pinned = golden["cases"].get(name)
    problems = differences(found, pinned) if pinned else [f"no case {name!r} is pinned"]
    listed = (pinned or {}).get("digests", {}).get(this_platform())
    if not problems and listed not in (None, digest):
        problems = [f"weights have SHA-256 {digest}, pinned for this platform is {listed}"]
    if os.environ.get("PMBENCH_REWRITE_GOLDEN"):
        raised = golden["engine_version"] < ENGINE_VERSION
        assert not (problems and pinned and not raised), f"{problems[0]}; {ADVICE}"
        digests = {} if problems else pinned["digests"]
        golden["cases"][name] = {
            **(found if problems else pinned),
            "digests": {**digests, this_platform(): digest},
        }
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return
    assert not problems, f"{problems[0]}; {ADVICE}"


def test_the_pinned_numbers_are_those_of_this_engine_version():
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    if os.environ.get("PMBENCH_REWRITE_GOLDEN"):
        golden = {
            "engine_version": ENGINE_VERSION,
            "cases": {n: c for n, c in golden["cases"].items() if n in CASES},
        }
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert golden["engine_version"] == ENGINE_VERSION
    assert golden["cases"].keys() == CASES.keys()


@pytest.mark.parametrize(
    "change",
    [
        {"warmup": 0.0},
        {"schedule": "constant"},
        {"lr": 1.01e-2},
        {"weight_decay": 0.05},
        {"batch_size": 11},
    ],
    ids=str,
)
def test_a_small_change_of_meaning_is_noticed(change, tmp_path):
    """The tolerance is no looser than the smallest change of the recipe."""
    name = "classifier, warm-up, cosine, best epoch"
    pinned = json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"][name]
    case = dataclasses.replace(CASES[name], recipe=CASES[name].recipe.but(**change))
    assert differences(trained(case, tmp_path)[0], pinned)
