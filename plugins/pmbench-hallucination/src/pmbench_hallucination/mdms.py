"""mdms: connected streams, and a hallucination network that takes the privileged stream's place.

Step 1 is `pm.Stream` of each modality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pmbench as pm

from .hallucination import compared_layer, hallucination_network
from .losses import ImitationOptions, imitation

PAPER = "Garcia, Morerio, Murino, ECCV 2018, arXiv:1806.07110"
PRINTED = "Garcia et al., ECCV 2018 (MDMS)"
VARIANCES = {0.0: "none", 0.001: "1e-3", 0.01: "1e-2", 0.1: "1e-1", 1.0: "1e0", 10.0: "1e1", None: "void"}
"""Variances of the noise in the paper's table 3, with their names there."""

INJECT = "m multiplied into u: u + u*m as in the authors' code, or u*m as in eq. 2 of the paper"
Form = Literal["code", "paper"]
Loss = Literal["eq3", "eq5", "eq7"]


@dataclass(frozen=True)
class ConnectionOptions(pm.Options):
    connection: Literal["p2t", "t2p", "none"] = pm.option(
        "p2t", "multiply privileged activations into the target stream, the other way round, or neither"
    )
    inject: Form = pm.option("code", INJECT)


@dataclass(frozen=True)
class Step3Options(ImitationOptions):
    loss: Loss = pm.option("eq7", "step 3 imitates features (eq3), softened logits (eq5), or both (eq7)")
    reduction: Literal["frame", "sse"] = pm.option(
        "frame", "reduction of the feature loss: sum over a frame and mean over frames, or sum (sse)"
    )


@dataclass(frozen=True)
class MdmsOptions(Step3Options, ConnectionOptions):
    step: Literal["step2", "step2-target", "step2-privileged", "step3", "step4"] = pm.option(
        "step4", "deliver both streams of step 2 or one of them, h of step 3 alone, or both of step 4"
    )
    cut: Literal["test", "always"] = pm.option(
        "test", "cut the connections of step 3 at test, or in its training too"
    )


@dataclass(frozen=True)
class Step3ConnectedOptions(pm.Options):
    loss: Loss = pm.option("eq7", "step 3 imitates features (eq3), softened logits (eq5), or both (eq7)")
    inject: Form = pm.option("code", INJECT)


@dataclass(frozen=True)
class NoisyOptions(ConnectionOptions):
    variance: float | None = pm.option(
        0.1, "variance of the factor on the privileged input, whose mean is 1; none: void", within="[0, inf)"
    )


@dataclass(frozen=True)
class MultiplyStreams(pm.Stage):
    """Step 2: both trained streams, connected, trained on with cross-entropy of the mean of their logits.

    `connection` "p2t": the privileged stream's activations are multiplied into the target stream's behind
    every block; "t2p" the other way round; "none" or "off" (impossible) not at all. Clips get temporal
    convolutions here.
    """

    target: pm.Stage
    privileged: pm.Stage
    connection: str
    inject: str

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.target.reads, *self.privileged.reads)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Connected, spread_over_time

        note_off(bench, self.connection)
        streams = bench.trainable(self.target), bench.trainable(self.privileged)
        for stream, modality in zip(streams, self.reads, strict=True):
            if bench.modality(modality).kind == "clip":
                spread_over_time(stream)
        return pm.Nets(student=Connected(*streams, self.connection, self.inject))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}


@dataclass(frozen=True)
class OneStream(pm.Stage):
    """A stream of step 2 alone, its connections cut: the target one at place 0, the privileged one at 1."""

    multiplied: pm.Stage
    place: int

    trains = False

    @property
    def reads(self) -> tuple[str, ...]:
        return self.multiplied.reads[self.place :][:1]

    def build(self, bench: pm.Bench) -> pm.Nets:
        both: Any = bench.frozen(self.multiplied)
        return pm.Nets(student=pm.Frozen(both.networks[self.place]))


@dataclass(frozen=True)
class HallucinateStream(pm.Stage):
    """Step 3: h looks at the target modality, starts from f_p of step 2, and imitates it; f_p is frozen.

    Minimizes eq. 3, 5 or 7 (`losses.imitation`). With `connection` "p2t" f_p is multiplied into h in
    training; h is delivered alone, its connections cut. With "t2p" the teacher is f_p as step 2 trained it,
    with f_t multiplied in, and h has no connections. With eq. 3 alone h keeps the head of f_p.
    """

    multiplied: pm.Stage
    options: Step3Options
    connection: str
    inject: str
    layer: str

    handles = frozenset({"unlabelled"})

    @property
    def reads(self) -> tuple[str, ...]:
        return self.multiplied.reads

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import spread_over_time

        note_off(bench, self.connection)
        if self.layer == "pooled" and self.options.loss != "eq5":
            bench.note("pooled vectors are compared in place of maps")
        f_t, f_p = bench.frozen(self.multiplied).networks
        clip = bench.modality(self.reads[0]).kind == "clip"
        h = hallucination_network(bench, self.reads[0], f_p, *([spread_over_time] if clip else []))
        h.head.requires_grad_(self.options.loss != "eq3")
        nets = pm.Nets(student=h, privileged=pm.Frozen(f_p))
        if self.connection == "t2p":
            nets.add_module("target", pm.Frozen(f_t))
        return nets

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        from .networks import branches

        if self.connection == "t2p":
            h = nets.student(batch)
            p = branches(nets.target, nets.privileged, batch, "t2p", self.inject)[1]
        else:
            h, p = branches(nets.student, nets.privileged, batch, self.connection, self.inject)
        return imitation(self.options, self.layer, p, h, batch.labels)


@dataclass(frozen=True)
class JoinStreams(pm.Stage):
    """Step 4: f_t of step 2 and h of step 3, connected as in step 2 with h in place of f_p; x_t alone.

    Cross-entropy of the mean of their logits moves both.
    """

    multiplied: pm.Stage
    hallucination: pm.Stage
    connection: str
    inject: str

    @property
    def reads(self) -> tuple[str, ...]:
        return self.multiplied.reads[:1]

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Connected

        step2: Any = bench.trainable(self.multiplied)
        h = bench.trainable(self.hallucination)
        return pm.Nets(student=Connected(step2.networks[0], h, self.connection, self.inject))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}


@dataclass(frozen=True)
class ReceivingStream(pm.Stage):
    """h of step 3 with f_p multiplied in, as in its training: it needs the privileged modality at test."""

    multiplied: pm.Stage
    hallucination: pm.Stage
    inject: str

    trains = False

    @property
    def reads(self) -> tuple[str, ...]:
        return self.multiplied.reads

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Receiving

        f_p = bench.frozen(self.multiplied).networks[1]
        return pm.Nets(student=Receiving(pm.Frozen(f_p), bench.frozen(self.hallucination), self.inject))


@dataclass(frozen=True)
class NoisyStreams(pm.Stage):
    """The streams of step 2 with the privileged input times N(1, variance); with none, the input is void.

    One draw for all samples, so that the network stays a function of its inputs. Each sample meets the noise
    with the distribution of a draw of its own: the expected accuracy is the same.
    """

    multiplied: pm.Stage
    variance: float | None

    trains = False

    @property
    def reads(self) -> tuple[str, ...]:
        return self.multiplied.reads

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import NoisyInput

        p = self.reads[1]
        both = bench.frozen(self.multiplied)
        return pm.Nets(student=NoisyInput(both, p, bench.modality(p).shape, self.variance))


def note_off(bench: pm.Bench, connection: str) -> None:
    if connection == "off":
        bench.note("streams are not connected: their maps are missing, not aligned or not of one shape")


def _row(variant: str, table: str = "Table 2", **options: object) -> pm.Ablation:
    return pm.Ablation(options, (PRINTED, table, variant))


@pm.method(
    "mdms",
    paper=PAPER,
    networks=2,
    teachers="own",
    deviations=(
        "connections behind every block, after its activation, into all of the next: no residual shortcuts "
        "(inside the stages, as in the paper, with mdms_resnet50)",
        "step 3 is tested with its connections cut: connected it would see the privileged modality at test",
        "L_hall is summed over a sample and averaged over the batch, times 0.25; the code sums, times 0.01",
        "both sides of the soft term at T = 10, as in the code; the paper softens the teacher alone",
        "temporal convolutions, for clips, join in step 2; the paper has them from step 1, as mdms_resnet50",
    ),
    deliveries=(
        pm.Delivery({"step": "step2"}, "all", networks=2),
        pm.Delivery({"step": "step2-target"}),
        pm.Delivery({"step": "step2-privileged"}, "privileged"),
        pm.Delivery({"step": "step3"}),
    ),
    ablations={
        "table 2, row 6: step 2, privileged stream": _row(
            "row06:step2_depth_stream;xent", step="step2-privileged"
        ),
        "table 2, row 7: step 2, target stream": _row("row07:step2_rgb_stream;xent", step="step2-target"),
        "table 2, row 8: step 2": _row("row08:step2_conn;xent", step="step2"),
        "table 2, row 9: step 2, no connections": _row(
            "row09:step2_no_conn;xent", step="step2", connection="none"
        ),
        "table 2, row 10: step 3, no connections, eq. 3": _row(
            "row10:step3_no_conn;eq3", step="step3", connection="none", loss="eq3"
        ),
        "table 2, row 11: step 3, eq. 3": _row("row11:step3_conn;eq3", step="step3", loss="eq3"),
        "table 2, row 12: step 3, eq. 5": _row("row12:step3_conn;eq4", step="step3", loss="eq5"),
        "table 2, row 13: step 3, eq. 7": _row("row13:step3_conn;eq7", step="step3", loss="eq7"),
        "table 2, row 14: step 3, no connections, eq. 7": _row(
            "row14:step3_no_conn;eq7", step="step3", connection="none"
        ),
        "table 2, row 15: step 4": _row("row15:step4;xent", step="step4"),
        "supplement, 6a: step 2, privileged stream, inverted": _row(
            "row06a:inverted_step2_depth_stream", "Supp. Table 1", step="step2-privileged", connection="t2p"
        ),
        "supplement, 7a: step 2, target stream, inverted": _row(
            "row07a:inverted_step2_rgb_stream", "Supp. Table 1", step="step2-target", connection="t2p"
        ),
        "supplement, 8a: step 2, inverted": _row(
            "row08a:inverted_step2", "Supp. Table 1", step="step2", connection="t2p"
        ),
        "supplement, 13a: step 3, inverted": _row(
            "row13a:inverted_step3;eq7", "Supp. Table 1", step="step3", connection="t2p"
        ),
        "supplement, 15a: step 4, inverted": _row(
            "row15a:inverted_step4", "Supp. Table 1", step="step4", connection="t2p"
        ),
    },
    search={"weight": "log [0.025, 2.5]", "alpha": "[0.1, 0.9]", "imitation": "[0.1, 0.9]"},
)
def mdms(setting: pm.Setting, options: MdmsOptions) -> pm.Stage:
    """Connected streams, a hallucination network that imitates the privileged one, then both on the target"""
    link = _connection(setting, options)
    step2 = _step2(setting, *link)
    if options.step == "step2":
        return step2
    if options.step in ("step2-target", "step2-privileged"):
        return OneStream(step2, int(options.step == "step2-privileged"))
    within = ("none", "code") if link[0] == "p2t" and options.cut == "always" else link
    h = HallucinateStream(step2, options, *within, compared_layer(setting))
    return h if options.step == "step3" else JoinStreams(step2, h, *link)


@pm.method(
    "mdms_step3_connected",
    paper=PAPER,
    role="reference",
    tests_on="all",
    networks=2,
    deviations=("weights and selected epoch are those of step 3 with its connections cut at test",),
)
def mdms_step3_connected(setting: pm.Setting, options: Step3ConnectedOptions) -> pm.Stage:
    """Step 3 of `mdms` with its connections at test: given the privileged modality, so no valid result"""
    _require_connectable(setting)
    step2 = _step2(setting, "p2t", options.inject)
    h = HallucinateStream(
        step2, Step3Options(loss=options.loss), "p2t", options.inject, compared_layer(setting)
    )
    return ReceivingStream(step2, h, options.inject)


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
        "table 3, void" if variance is None else f"table 3, variance {variance:g}": _row(
            f"step2_noisy_depth:sigma2={sigma}", "Table 3", variance=variance
        )
        for variance, sigma in VARIANCES.items()
    },
)
def mdms_noisy(setting: pm.Setting, options: NoisyOptions) -> pm.Stage:
    """The connected streams of `mdms`, given both modalities at test, the privileged one times noise

    Where this falls below `mdms`, the hallucination network is the better sensor.
    """
    return NoisyStreams(_step2(setting, *_connection(setting, options)), options.variance)


def _step2(setting: pm.Setting, connection: str, inject: str) -> pm.Stage:
    """Step 2. Without connections and clips it is late fusion, trained jointly."""
    t, p = setting.only_target(), setting.only_privileged()
    clip = "clip" in (setting.modalities[t].kind, setting.modalities[p].kind)
    if connection in ("p2t", "t2p") or clip:
        return MultiplyStreams(pm.Stream(t), pm.Stream(p), connection, inject)
    return pm.JointLateFusion((pm.Stream(t), pm.Stream(p)))


def _connection(setting: pm.Setting, options: ConnectionOptions) -> tuple[str, str]:
    """Fields `connection` and `inject` of stages: "off" where the networks cannot be connected."""
    try:
        _require_connectable(setting)
    except pm.Unsupported:
        return "off", "code"
    return options.connection, "code" if options.connection == "none" else options.inject


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
