"""Eq. 3, 5 and 7: values and gradients against plain loops, identities, reductions."""

import math

import numpy as np
import pytest
import torch
from pmbench_hallucination.hoffman import HoffmanOptions
from pmbench_hallucination.losses import feature_loss, imitation
from pmbench_hallucination.mdms import Step3Options

import pmbench as pm
from pmbench.testing import lab, loops

RNG = np.random.default_rng(5)
N = 5
LABELS = np.array([0, -1, 2, 1, -1])
PRESENT = np.array([True, True, False, True, False])
Z, MAPS, POOLED = ({name: RNG.normal(0, 2, (N, *s)) for name in "ph"} for s in ((3,), (4, 6), (7,)))
CASES = [
    (HoffmanOptions(), "map"),
    (HoffmanOptions(reduction="sse"), "map"),
    (HoffmanOptions(weight=3.0), "pooled"),
    (HoffmanOptions(weight=0.0), "map"),
    (HoffmanOptions(loss="eq5", temperature=5.0, student_temperature=1.0, imitation=0.3), "map"),
    (HoffmanOptions(loss="eq7", alpha=0.2, imitation=0.6), "map"),
    (HoffmanOptions(loss="eq7", alpha=0.7, reduction="sse"), "pooled"),
    (Step3Options(), "map"),
    (Step3Options(loss="eq3"), "map"),
    (Step3Options(loss="eq3", reduction="sse"), "pooled"),
    (Step3Options(alpha=0.2, imitation=0.6, reduction="sse"), "map"),
    (Step3Options(alpha=0.7, weight=3.0), "pooled"),
]
TERMS = {"eq3": {"hallucination"}, "eq5": {"hard", "soft"}, "eq7": {"hallucination", "hard", "soft"}}


def sigmoid_sse(a, b, rows):
    """Sum of squared differences of sigmoids."""
    total = 0.0
    for n in rows:
        for x, y in zip(a[n].ravel(), b[n].ravel(), strict=True):
            total += (1 / (1 + math.exp(-x)) - 1 / (1 + math.exp(-y))) ** 2
    return total


def references(o, layer, rows):
    """Terms in plain loops, each a function of (z_h, A_h)."""
    a_p = (MAPS if layer == "map" else POOLED)["p"]
    share = {"eq3": 1.0, "eq5": 0.0, "eq7": o.alpha}[o.loss]
    size = {"mean": len(rows) * a_p[0].size, "frame": len(rows), "sse": 1}[o.reduction]
    default = {"mean": 10.0, "frame": 0.25, "sse": 0.01}[o.reduction]
    weight = default if o.weight is None else o.weight
    temperatures = o.temperature, o.student_temperature
    return {
        "hallucination": lambda z, a: share * weight * sigmoid_sse(a_p, a, rows) / size,
        "hard": lambda z, a: (1 - share) * (1 - o.imitation) * loops.cross_entropy(z, LABELS),
        "soft": lambda z, a: (
            (1 - share) * o.imitation * loops.soft_cross_entropy(Z["p"], z, *temperatures, rows)
        ),
    }


def terms(o, layer, rows=slice(None), labels=LABELS):
    teacher, student = (lab.Given(Z[name], POOLED[name], MAPS[name]) for name in "ph")
    found = imitation(o, layer, teacher({}), student({}), torch.as_tensor(labels), rows)
    return found, teacher, student


def total(o, **options):
    return sum(v.item() for v in terms(o.but(**options), "map")[0].values())


@pytest.mark.parametrize(("options", "layer"), CASES, ids=str)
@pytest.mark.parametrize("present", [None, PRESENT], ids=["paired", "unpaired"])
def test_terms_equal_plain_loops_in_value_and_gradient(options, layer, present):
    rows = list(range(N)) if present is None else np.flatnonzero(present).tolist()
    mask = slice(None) if present is None else torch.as_tensor(present)
    assert terms(options, layer, mask)[0].keys() == TERMS[options.loss]
    point = [Z["h"], (MAPS if layer == "map" else POOLED)["h"]]
    for name, reference in references(options, layer, rows).items():
        if name not in TERMS[options.loss]:
            continue
        found, teacher, h = terms(options, layer, mask)
        found[name].backward()
        assert found[name].item() == pytest.approx(reference(*point), abs=1e-10)
        for i, leaf in enumerate((h.logits, h.last_map if layer == "map" else h.pooled)):
            slope = lab.numeric_gradient(lambda x: reference(*point[:i], x, *point[i + 1 :]), point[i])  # noqa: B023
            got = np.zeros_like(slope) if leaf.grad is None else leaf.grad.numpy()
            np.testing.assert_allclose(got, slope, atol=1e-7, err_msg=f"{name}, argument {i}")
        assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize(("options", "layer"), CASES, ids=str)
def test_without_any_pair_nothing_is_imitated(options, layer):
    found, *_ = terms(options, layer, torch.zeros(N, dtype=torch.bool))
    assert all(found[name].item() == 0 for name in {"hallucination", "soft"} & found.keys())
    assert all(term.isfinite() for term in found.values())


def test_without_labels_only_the_hard_term_is_zero():
    found, *_ = terms(Step3Options(), "map", labels=np.full(N, -1))
    assert {name: term.item() > 0 for name, term in found.items()} == {
        "hallucination": True, "hard": False, "soft": True,
    }  # fmt: skip


@pytest.mark.parametrize("options", [HoffmanOptions(), Step3Options()])
def test_eq7_lies_between_eq3_and_eq5(options):
    """alpha 1 is eq. 3, alpha 0 is eq. 5, generalized distillation."""
    assert total(options, loss="eq7", alpha=1.0) == pytest.approx(total(options, loss="eq3"))
    assert total(options, loss="eq7", alpha=0.0) == pytest.approx(total(options, loss="eq5"))
    middle = (total(options, loss="eq3") + total(options, loss="eq5")) / 2
    assert total(options, loss="eq7", alpha=0.5) == pytest.approx(middle)


def test_the_feature_loss_is_zero_at_equality_and_its_mean_at_most_one():
    a, b = torch.full((2, 3), 50.0), torch.full((2, 3), -50.0)
    assert feature_loss(a, a, "mean", 10.0).item() == 0
    assert feature_loss(a, b, "mean", 1.0).item() == pytest.approx(1.0)


def test_the_frame_form_is_the_sum_at_twenty_five_frames_a_batch():
    def ratio(*shape):
        a, b = torch.zeros(shape), torch.ones(shape)
        return feature_loss(a, b, "sse", 1.0).item() / feature_loss(a, b, "frame", 1.0).item()

    assert ratio(1, 3, 25, 2, 2) == pytest.approx(25)  # one clip of 25 frames
    assert ratio(7, 3, 5, 2, 2) == pytest.approx(35)
    assert ratio(7, 3) == pytest.approx(7)
    assert Step3Options().feature_weight == pytest.approx(25 * Step3Options(reduction="sse").feature_weight)
    assert feature_loss(torch.zeros(0, 3), torch.zeros(0, 3), "frame", 1.0).item() == 0


def test_the_default_weight_depends_on_the_reduction():
    assert [HoffmanOptions(reduction=r).feature_weight for r in ("mean", "sse")] == [10.0, 0.01]
    assert HoffmanOptions(weight=0.0).feature_weight == 0
    assert isinstance(HoffmanOptions(), pm.Options)
