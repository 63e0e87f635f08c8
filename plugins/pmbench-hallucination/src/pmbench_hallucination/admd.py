"""admd: a hallucination network deceives a discriminator of privileged features that knows the classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pmbench as pm

from .hallucination import hallucination_network
from .losses import feature_loss

if TYPE_CHECKING:
    from torch import Tensor, nn

DISCRIMINATOR = {"optimizer": "adam", "lr": 1e-3, "weight_decay": 0.0}
"""The discriminator's recipe: Adam at 1e-3 as in the paper. h keeps the standard one."""

PRINTED = "Garcia et al., TPAMI 2019 (ADMD, slides)"
TABLE = (PRINTED, "slide Table 4 (ADMD)")
TEMPERATURE, WEIGHT = 10.0, 0.64
"""Of `Imitate`: the authors' code (github.com/ncgarcia/admd) has 0.01 for the sum over a batch of 64."""


@dataclass(frozen=True)
class GameOptions(pm.Options):
    adversary: Literal["classes", "lsgan", "none"] = pm.option(
        "classes",
        "discriminator of all classes and one for fakes, of real and fake alone (lsgan), or none: the losses "
        "of mdms on the compared vectors",
    )
    discriminator: Literal["action", "objects"] = pm.option(
        "action", "layers of the paper's experiments on actions, or on objects"
    )


@dataclass(frozen=True)
class AdmdOptions(GameOptions):
    stream: Literal["two", "hall"] = pm.option(
        "two", "mean of the logits of target stream and hallucination network, or the latter alone"
    )
    bottleneck: int = pm.option(
        128, "width of the compared vectors, at most that of the pooled features", within="[1, inf)"
    )


class Classes:
    """D has K + 1 classes, the last one "fake".

    L_D = 1/2 [CE(D(v_p), y) + CE(D(sg v_h), fake)]        L_H = CE(D(v_h), y)
    """

    @staticmethod
    def judge(d: nn.Module, v_p: Tensor, v_h: Tensor, y: Tensor, paired: Tensor) -> pm.Terms:
        real, fake = d(v_p.detach()), d(v_h.detach())
        real_loss = pm.cross_entropy(real, y.masked_fill(~paired, -1))
        fake_loss = pm.cross_entropy(fake, y * 0 + fake.shape[1] - 1)
        return {"judge_real": real_loss / 2, "judge_fake": fake_loss / 2}

    @staticmethod
    def deceive(d: nn.Module, v_h: Tensor, y: Tensor) -> pm.Terms:
        return {"deceive": pm.cross_entropy(d(v_h), y)}


class LeastSquares:
    """D has one output d in (0, 1) and sees no labels.

    L_D = 1/2 [mean (d(v_p) - 1)^2 + mean d(sg v_h)^2]     L_H = mean (d(v_h) - 1)^2
    """

    @staticmethod
    def judge(d: nn.Module, v_p: Tensor, v_h: Tensor, y: Tensor, paired: Tensor) -> pm.Terms:
        real, fake = d(v_p.detach())[paired].sigmoid(), d(v_h.detach()).sigmoid()
        return {"judge_real": pm.mse(real, real * 0 + 1) / 2, "judge_fake": pm.mse(fake, fake * 0) / 2}

    @staticmethod
    def deceive(d: nn.Module, v_h: Tensor, y: Tensor) -> pm.Terms:
        fake = d(v_h).sigmoid()
        return {"deceive": pm.mse(fake, fake * 0 + 1)}


GAMES: Mapping[str, type[Classes | LeastSquares]] = {"classes": Classes, "lsgan": LeastSquares}


@dataclass(frozen=True)
class NarrowStream(pm.Stream):
    """A stream whose bottleneck is `bottleneck` wide, or as its pooled features if those are narrower.

    With `frames` the bottleneck is on each frame of the last map, and logits are the mean over frames.
    """

    bottleneck: int | None = 128
    frames: bool = False

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .discriminator import by_frames

        features = bench.features(self.modality)
        width = min(self.bottleneck or features, features)
        network = bench.classifier(self.modality, bottleneck=width)
        if self.frames:
            by_frames(network)
        return pm.Nets(student=network)


@dataclass(frozen=True)
class Deceive(pm.Stage):
    """h on `target` against a discriminator D between its bottleneck vectors and those of f_p.

    h has f_p's architecture and starts from it. v_p = bottleneck(f_p(x_p)), f_p frozen; v_h =
    bottleneck(h(x_t)). In every batch first D minimizes L_D, then h minimizes L_H; `adversary` chooses the
    game. Terms with y run over labelled samples, those with v_p over samples that have the privileged
    modality, the others over all. The head of h is frozen: it stays f_p's. Where f_p has vectors by frame, D
    sees each with the one-hot position of its frame.
    """

    privileged: NarrowStream
    target: str
    options: GameOptions

    handles = frozenset({"unlabelled", "unpaired"})

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.target, *self.privileged.reads)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .discriminator import Discriminator, Judged, by_frames

        f_p: Any = bench.frozen(self.privileged)
        by_frame, width = self.privileged.frames, f_p.network.head.in_features
        h = hallucination_network(bench, self.target, f_p.network, *([by_frames] if by_frame else []))
        h.head.requires_grad_(False)
        outputs = bench.num_classes + 1 if self.options.adversary == "classes" else 1
        if by_frame:
            width += -(-bench.modality(self.target).shape[1] // h.encoder.maps[-1].stride[0])
        d = Discriminator(width, outputs, self.options.discriminator)
        return pm.Nets(student=Judged(h, d), privileged=f_p)

    def groups(self, nets: pm.Nets) -> Mapping[str, pm.Group]:
        student: Any = nets.student
        return {
            "discriminator": pm.Group((student.discriminator,), DISCRIMINATOR),
            "hallucination": pm.Group((student.hallucination,)),
        }

    def update(self, nets: pm.Nets, batch: pm.Batch, step: pm.Step) -> None:
        from .discriminator import vectors

        student: Any = nets.student
        f_p: Any = nets.privileged
        game, d, h = GAMES[self.options.adversary], student.discriminator, student.hallucination
        v_p, v_h = vectors(f_p.network, f_p(batch)), vectors(h, h(batch))
        frames = len(v_h) // len(batch.labels)
        y = batch.labels.repeat_interleave(frames)
        paired = batch.present(*self.privileged.reads).repeat_interleave(frames)
        step(game.judge(d, v_p, v_h, y, paired), "discriminator")
        step(game.deceive(d, v_h, y), "hallucination")


@dataclass(frozen=True)
class Imitate(pm.Stage):
    """h on `target` with the losses of mdms on bottleneck vectors, without a discriminator.

    CE(z_h, y) + T^2 CE(softmax(sg z_p/T), softmax(z_h/T)) + w |sigmoid(sg v_p) - sigmoid(v_h)|^2, the square
    summed over a vector and averaged over the batch. CE runs over labelled samples, the others over samples
    that have the privileged modality. As in `Deceive` h starts from f_p; its head is trained.
    """

    privileged: NarrowStream
    target: str

    handles = frozenset({"unlabelled", "unpaired"})

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.target, *self.privileged.reads)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .discriminator import by_frames

        f_p: Any = bench.frozen(self.privileged)
        reshape = [by_frames] if self.privileged.frames else []
        h = hallucination_network(bench, self.target, f_p.network, *reshape)
        return pm.Nets(student=h, privileged=f_p)

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        paired = batch.present(*self.privileged.reads)
        p, h = nets.privileged(batch), nets.student(batch)
        soft = pm.soft_cross_entropy(p.logits[paired], h.logits[paired], TEMPERATURE, TEMPERATURE)
        return {
            "hard": pm.cross_entropy(h.logits, batch.labels),
            "soft": TEMPERATURE**2 * soft,
            "hallucination": feature_loss(p.pooled[paired], h.pooled[paired], "frame", WEIGHT),
        }


@dataclass(frozen=True)
class Hallucination(pm.Stage):
    """The tested network: h alone, or the mean of its logits and those of a trained target network."""

    deceived: Deceive | Imitate
    stream: pm.Stage | None

    trains = False

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.deceived.target,)

    def build(self, bench: pm.Bench) -> pm.Nets:
        trained: Any = bench.frozen(self.deceived)
        h = pm.Frozen(trained.hallucination) if isinstance(self.deceived, Deceive) else trained
        return pm.Nets(student=h if self.stream is None else pm.Mean(bench.frozen(self.stream), h))


@pm.method(
    "admd",
    paper="Garcia, Morerio, Murino, IEEE TPAMI 2019, arXiv:1810.08437",
    networks=2,
    teachers="own",
    deviations=(
        "no batch norm in the discriminator and its bottleneck, which the authors' code has by its defaults",
        "the standard recipe for h; Adam at 1e-3 for the discriminator alone",
        "a bottleneck no wider than the pooled features",
    ),
    ablations={
        "hallucination stream alone": pm.Ablation({"stream": "hall"}, (*TABLE, "row24:hall_stream_alone")),
        "two streams": pm.Ablation({"stream": "two"}, (*TABLE, "row25:two_stream_rgb+hall")),
        "without classes (standard adversarial game)": pm.Ablation({"adversary": "lsgan"}),
        "without classes, hallucination stream alone": pm.Ablation({"adversary": "lsgan", "stream": "hall"}),
        "discriminator of the object experiments": pm.Ablation({"discriminator": "objects"}),
        "losses of mdms on the compared vectors": pm.Ablation(
            {"adversary": "none"},
            (PRINTED, "slide object-recognition table (ADMD)", "garcia_eccv18_losses"),
        ),
    },
    deliveries=(pm.Delivery({"stream": "hall"}),),
    search={"bottleneck": (4, 8, 16, 32, 128), "discriminator": ("action", "objects")},
)
def admd(setting: pm.Setting, options: AdmdOptions) -> pm.Stage:
    """Target stream and a hallucination network that deceives a discriminator of privileged features"""
    t, p = setting.only_target(), setting.only_privileged()
    narrow = NarrowStream(p, options.bottleneck, has_frames(setting, t, p))
    h = Imitate(narrow, t) if options.adversary == "none" else Deceive(narrow, t, options)
    return Hallucination(h, pm.Stream(t) if options.stream == "two" else None)


def has_frames(setting: pm.Setting, target: str, privileged: str) -> bool:
    """Whether both are clips of equally many frames, and one network can pool both by the mean of a map."""
    a, b, backbone = setting.modalities[target], setting.modalities[privileged], setting.backbones[privileged]
    clips = a.kind == b.kind == "clip" and a.shape[1] == b.shape[1]
    return clips and {"maps", "mean"} <= set(backbone.provides) and backbone.accepts(a)
