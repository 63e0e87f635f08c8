"""Modality distillation with multiple stream networks: connected streams, hallucination, and their union."""

from __future__ import annotations

from typing import Literal

import pmbench as pm

from .mdms import LAMBDA, HallucinateStream, JoinStreams, MultiplyStreams, NoisyStreams, ReceivingStream

PAPER = "Garcia, Morerio, Murino, ECCV 2018, arXiv:1806.07110"
PRINTED = "Garcia et al., ECCV 2018 (MDMS)"
LEVELS = {0.0: "none", 0.001: "1e-3", 0.01: "1e-2", 0.1: "1e-1", 1.0: "1e0", 10.0: "1e1", None: "void"}
"""Variances of the noise in the paper's table 3, and what it calls them."""

Direction = Literal["p2t", "t2p", "none"]
Form = Literal["code", "paper"]


@pm.method(
    "mdms",
    paper=PAPER,
    networks=2,
    deviations=(
        "connections behind every block, after its activation, into all of the next: no residual shortcuts "
        "(inside the stages, as in the paper, with mdms_resnet50)",
        "step 3 is tested with its connections cut: connected it would see the privileged modality at test",
        "L_hall is summed over a sample and averaged over the batch, times 0.25; the code sums, times 0.01",
        "both sides of the soft term at T = 10, as in the code; the paper softens the teacher alone",
        "temporal convolutions, for clips, join in step 2; the paper has them from step 1, as mdms_resnet50",
    ),
    ablations={
        "table 2, row 10: step 3, no connections, eq. 3": pm.Ablation(
            {"step": "step3", "connection": "none", "loss": "eq3"},
            (PRINTED, "Table 2", "row10:step3_no_conn;eq3"),
        ),
        "table 2, row 11: step 3, eq. 3": pm.Ablation(
            {"step": "step3", "loss": "eq3"}, (PRINTED, "Table 2", "row11:step3_conn;eq3")
        ),
        "table 2, row 12: step 3, eq. 5": pm.Ablation(
            {"step": "step3", "loss": "eq5"}, (PRINTED, "Table 2", "row12:step3_conn;eq4")
        ),
        "table 2, row 13: step 3, eq. 7": pm.Ablation(
            {"step": "step3", "loss": "eq7"}, (PRINTED, "Table 2", "row13:step3_conn;eq7")
        ),
        "table 2, row 14: step 3, no connections, eq. 7": pm.Ablation(
            {"step": "step3", "connection": "none"}, (PRINTED, "Table 2", "row14:step3_no_conn;eq7")
        ),
        "table 2, row 15: step 4": pm.Ablation({"step": "step4"}, (PRINTED, "Table 2", "row15:step4;xent")),
        "supplement, 13a: step 3, inverted": pm.Ablation(
            {"step": "step3", "connection": "t2p"}, (PRINTED, "Supp. Table 1", "row13a:inverted_step3;eq7")
        ),
        "supplement, 15a: step 4, inverted": pm.Ablation(
            {"step": "step4", "connection": "t2p"}, (PRINTED, "Supp. Table 1", "row15a:inverted_step4")
        ),
    },
)
def mdms(
    setting: pm.Setting,
    *,
    step: Literal["step3", "step4"] = "step4",
    loss: Literal["eq3", "eq5", "eq7"] = "eq7",
    connection: Direction = "p2t",
    cut: Literal["test", "always"] = "test",
    inject: Form = "code",
    reduction: Literal["frame", "sse"] = "frame",
    weight: float | None = None,
    alpha: float = 0.5,
    imitation: float = 0.5,
    temperature: float = 10.0,
    student_temperature: float = 10.0,
) -> pm.Stage:
    """Connected streams, a hallucination network that imitates the privileged one, then both on the target

    `step`: "step4" is the whole, two networks at test; "step3" the hallucination network alone. `connection`:
    privileged into target stream, the other way round, or none. `loss`: features (eq3), softened logits
    (eq5), both (eq7). `cut`: step 3 is trained connected and tested with connections cut ("test"), or
    trained as it is tested ("always").
    """
    possible = _possible(setting, connection)
    within = "none" if possible == "p2t" and cut == "always" else possible
    multiplied = _multiplied(setting, possible, inject)
    hallucination = HallucinateStream(
        multiplied,
        loss,
        within,
        inject if within in ("p2t", "t2p") else "code",
        _layer(setting),
        reduction,
        LAMBDA[reduction] if weight is None else weight,
        alpha,
        imitation,
        temperature,
        student_temperature,
    )
    return (
        hallucination
        if step == "step3"
        else JoinStreams(
            multiplied, hallucination, possible, inject if possible in ("p2t", "t2p") else "code"
        )
    )


@pm.method(
    "mdms_step3_connected",
    paper=PAPER,
    role="reference",
    tests_on="all",
    networks=2,
    deviations=("weights and selected epoch are those of step 3 with its connections cut at test",),
)
def mdms_step3_connected(
    setting: pm.Setting, *, loss: Literal["eq3", "eq5", "eq7"] = "eq7", inject: Form = "code"
) -> pm.Stage:
    """Step 3 of `mdms` with its connections at test: given the privileged modality, so no valid result"""
    _require_connectable(setting)
    hallucination = mdms.last_stage(setting, step="step3", loss=loss, inject=inject)
    return ReceivingStream(_multiplied(setting, "p2t", inject), hallucination, inject)


@pm.method(
    "mdms_noisy",
    paper=f"{PAPER}, table 3",
    role="reference",
    tests_on="all",
    networks=2,
    deviations=(
        "noise multiplies the standardised input, without clamping; 'void' is the training mean",
        "one draw of noise for all samples of a seed",
    ),
    ablations={
        "table 3, void" if level is None else f"table 3, variance {level:g}": pm.Ablation(
            {"variance": level}, (PRINTED, "Table 3", f"step2_noisy_depth:sigma2={sigma}")
        )
        for level, sigma in LEVELS.items()
    },
)
def mdms_noisy(
    setting: pm.Setting,
    *,
    variance: float | None = 0.1,
    connection: Direction = "p2t",
    inject: Form = "code",
) -> pm.Stage:
    """The connected streams of `mdms`, given both modalities at test, the privileged one times noise

    `variance` of the factor, whose mean is 1; none: the privileged input is void. Where this falls below
    `mdms`, the hallucination network is the better sensor.
    """
    return NoisyStreams(_multiplied(setting, _possible(setting, connection), inject), variance)


def _multiplied(setting: pm.Setting, connection: str, inject: str) -> pm.Stage:
    """Step 2. Without connections and clips it is late fusion, trained jointly."""
    t, p = setting.only_target(), setting.only_privileged()
    streams = (pm.Stream(t), pm.Stream(p))
    connected = connection in ("p2t", "t2p")
    if not connected and "clip" not in (setting.modalities[t].kind, setting.modalities[p].kind):
        return pm.JointLateFusion(streams)
    return MultiplyStreams(*streams, connection, inject if connected else "code")


def _possible(setting: pm.Setting, connection: str) -> str:
    """The connection asked for, or "off" where the two networks cannot be connected."""
    try:
        _require_connectable(setting)
    except pm.Unsupported:
        return "off"
    return connection


def _require_connectable(setting: pm.Setting) -> None:
    t, p = setting.only_target(), setting.only_privileged()
    setting.require_maps(t, p)
    setting.require_aligned(t, p)
    a, b = setting.modalities[t], setting.modalities[p]
    same = setting.backbones[t].name == setting.backbones[p].name
    if not same or a.kind != b.kind or a.shape[1:] != b.shape[1:]:
        raise pm.Unsupported(
            f"connects maps of one shape, but {t!r} is {a.kind} {a.shape} with "
            f"{setting.backbones[t].name!r}, {p!r} is {b.kind} {b.shape} with {setting.backbones[p].name!r}",
            "choose one backbone for both",
        )


def _layer(setting: pm.Setting) -> str:
    """What h and f_p, of one architecture, can be compared by: "map" or "pooled"."""
    t, p = setting.only_target(), setting.only_privileged()
    a, b = setting.modalities[t], setting.modalities[p]
    maps = "maps" in setting.backbones[p].provides and setting.backbones[p].accepts(a)
    return "map" if maps and setting.aligned(t, p) and a.shape[1:] == b.shape[1:] else "pooled"
