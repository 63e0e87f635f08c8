"""A method on one screen: the student's pooled features follow those of a privileged network."""

from dataclasses import dataclass

import pmbench as pm


@dataclass(frozen=True)
class FollowOptions(pm.Options):
    weight: float = pm.option(1.0, "weight of the feature term", within="[0, inf)")


@dataclass(frozen=True)
class Follow(pm.Stage):
    """CE(z_s, y) + weight * MSE(phi_s, phi_p), the hint loss of arXiv:1412.6550 on pooled features (B, D)."""

    teacher: pm.Stage
    target: str
    options: FollowOptions = FollowOptions()

    handles = frozenset({"unlabelled"})

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.target, *self.teacher.reads)

    def build(self, bench: pm.Bench) -> pm.Nets:
        return pm.Nets(student=bench.classifier(self.target), teacher=bench.frozen(self.teacher))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        student, teacher = nets.student(batch), nets.teacher(batch)
        return {
            "ce": pm.cross_entropy(student.logits, batch.labels),
            "features": self.options.weight * pm.mse(student.pooled, teacher.pooled),
        }


@pm.method("follow", paper="arXiv:1412.6550")
def follow(setting: pm.Setting, options: FollowOptions) -> pm.Stage:
    """Student whose pooled features follow those of the privileged stream"""
    return Follow(pm.Stream(setting.only_privileged()), setting.only_target(), options)


@pm.hookimpl
def pmbench_methods() -> list[pm.Method]:
    return [follow]
