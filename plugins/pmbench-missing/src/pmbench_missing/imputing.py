"""Networks that make the missing input from the target, and fused networks that are given what they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pmbench as pm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

ADAM = {"optimizer": "adam", "lr": 2e-4, "beta1": 0.5, "weight_decay": 0.0}
"""Adam as in CycleGAN (arXiv:1703.10593), for the discriminators."""


class Generate(pm.Stage):
    """A generator, trained by the mean square error to what it has to make; `made` names the modalities.

    The mean runs over the elements of the samples that have the modality, labelled or not; several modalities
    are added up.
    """

    handles = frozenset({"unlabelled"})

    def wanted(self, nets: pm.Nets, batch: pm.Batch) -> Mapping[str, Tensor]:
        """Modality -> what the generator has to make, (B, ...)."""
        raise NotImplementedError

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        made: Any = nets.student(batch)
        wanted = self.wanted(nets, batch)
        return {"mse": sum(pm.mse(made[m], x) for m, x in wanted.items())}


@dataclass(frozen=True)
class Regress(Generate):
    """A network on `target` and, behind its pooled features, two layers that give the standardised inputs."""

    target: str
    privileged: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.target, *self.privileged)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import FromPooled, Generator

        encoder = bench.encoder(self.target)
        shapes = {m: bench.modality(m).shape for m in self.privileged}
        decoders = {m: FromPooled(encoder.features, shape) for m, shape in shapes.items()}
        return pm.Nets(student=Generator(self.target, encoder, decoders))

    def wanted(self, nets: pm.Nets, batch: pm.Batch) -> Mapping[str, Tensor]:
        return {m: batch[m] for m in self.privileged}


@dataclass(frozen=True)
class RegressFeatures(Generate):
    """As Regress, for the pooled features that the streams of `fused`, finished late fusion, have."""

    target: str
    fused: pm.Stage

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.target, *self.fused.reads)))

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import FromPooled, Generator, by_modality

        fused, encoder = bench.frozen(self.fused), bench.encoder(self.target)
        streams = by_modality(fused)
        decoders = {
            m: FromPooled(encoder.features, (stream.head.in_features,))
            for m, stream in streams.items()
            if m != self.target
        }
        return pm.Nets(student=Generator(self.target, encoder, decoders), fused=fused)

    def wanted(self, nets: pm.Nets, batch: pm.Batch) -> Mapping[str, Tensor]:
        from .networks import by_modality

        return {m: s(batch).pooled for m, s in by_modality(nets.fused).items() if m != self.target}


@dataclass(frozen=True)
class Reconstruct(Generate):
    """The encoder of a finished stream, trained on, and transposed convolutions from its last map."""

    stream: pm.Stage
    privileged: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.stream.reads, *self.privileged)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import FromMap, Generator

        (target,) = self.stream.reads
        trained: Any = bench.trainable(self.stream)
        fed = bench.modality(target).shape
        decoders = {m: FromMap(trained.encoder, fed, bench.modality(m).shape) for m in self.privileged}
        return pm.Nets(student=Generator(target, trained.encoder, decoders))

    def wanted(self, nets: pm.Nets, batch: pm.Batch) -> Mapping[str, Tensor]:
        return {m: batch[m] for m in self.privileged}


@dataclass(frozen=True)
class Impute(pm.Stage):
    """A finished fused network that sees what a finished generator makes of the target.

    `features`: the generator makes the pooled features of the streams of late fusion. Nothing is trained.
    """

    generator: pm.Stage
    fused: pm.Stage
    target: str
    features: bool = False

    trains = False

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.target,)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Filled, FilledFeatures

        kind = FilledFeatures if self.features else Filled
        generator, fused = bench.frozen(self.generator), bench.frozen(self.fused)
        return pm.Nets(student=kind(generator, fused, self.target))


# --- with a discriminator -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class TranslateOptions(pm.Options):
    cycle: float = pm.option(10.0, "weight of the way there and back", within="[0, inf)")
    paired: float = pm.option(1.0, "weight of the error to the sample's own input", within="[0, inf)")


@dataclass(frozen=True)
class Translate(pm.Stage):
    """Two translators G: target -> privileged and F: back, and a discriminator D of each (arXiv:1703.10593).

    In every batch first the discriminators minimise, for each direction,

        1/2 [mean (D(x) - 1)^2 + mean D(sg x')^2],     x' = G(x_t) or F(x_p)

    and then the translators

        mean (D_p(G(x_t)) - 1)^2 + mean (D_t(F(x_p)) - 1)^2
        + cycle (|F(G(x_t)) - x_t| + |G(F(x_p)) - x_p|) + paired MSE(G(x_t), x_p)

    with means over all elements. A translator is transposed convolutions from its encoder's last map
    (`by_map`), or two layers from the pooled features. Delivered: G.
    """

    target: str
    privileged: str
    by_map: bool
    options: TranslateOptions = TranslateOptions()

    handles = frozenset({"unlabelled"})

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.target, self.privileged)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Judge

        t, p = self.reads
        return pm.Nets(
            student=self._translator(bench, t, p),
            back=self._translator(bench, p, t),
            judge=Judge(bench.encoder(p)),
            judge_back=Judge(bench.encoder(t)),
        )

    def _translator(self, bench: pm.Bench, fed: str, made: str) -> Any:
        from .networks import FromMap, FromPooled, Generator

        encoder, shape = bench.encoder(fed), bench.modality(made).shape
        decoder: Any = FromPooled(encoder.features, shape)
        if self.by_map:
            decoder = FromMap(encoder, bench.modality(fed).shape, shape)
        return Generator(fed, encoder, {made: decoder})

    def groups(self, nets: pm.Nets) -> Mapping[str, pm.Group]:
        return {
            "discriminators": pm.Group((nets.judge, nets.judge_back), ADAM),
            "translators": pm.Group((nets.student, nets.back)),
        }

    def update(self, nets: pm.Nets, batch: pm.Batch, step: pm.Step) -> None:
        o, (t, p) = self.options, self.reads
        there: Any = nets.student(batch)[p]
        back: Any = nets.back(batch)[t]
        step(
            {
                "judge": judged(nets.judge, batch[p], there.detach()),
                "judge_back": judged(nets.judge_back, batch[t], back.detach()),
            },
            "discriminators",
        )
        again = (nets.back({p: there})[t] - batch[t]).abs().mean()
        and_again = (nets.student({t: back})[p] - batch[p]).abs().mean()
        step(
            {
                "deceive": ((nets.judge(there) - 1) ** 2).mean(),
                "deceive_back": ((nets.judge_back(back) - 1) ** 2).mean(),
                "cycle": o.cycle * (again + and_again),
                "paired": o.paired * pm.mse(there, batch[p]),
            },
            "translators",
        )


def judged(judge: Any, real: Tensor, made: Tensor) -> Tensor:
    """1/2 [mean (D(real) - 1)^2 + mean D(made)^2]."""
    return (((judge(real) - 1) ** 2).mean() + (judge(made) ** 2).mean()) / 2
