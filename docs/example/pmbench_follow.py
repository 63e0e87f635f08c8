"""A method on one screen: the student's pooled features follow those of a privileged network."""

from dataclasses import dataclass

import pmbench as pm


@dataclass(frozen=True)
class Follow(pm.Stage):
    """CE(z_s, y) + weight * MSE(phi_s, phi_p), the hint loss of arXiv:1412.6550 on pooled features (B, D)."""

    teacher: pm.Stage
    target: str
    weight: float = 1.0

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
            "features": self.weight * pm.mse(student.pooled, teacher.pooled),
        }


@pm.method("follow", paper="arXiv:1412.6550")
def follow(setting: pm.Setting, *, weight: float = 1.0) -> pm.Stage:
    """Student whose pooled features follow those of the privileged stream"""
    return Follow(pm.Stream(setting.only_privileged()), setting.only_target(), weight)


@pm.hookimpl
def pmbench_methods() -> list[pm.Method]:
    return [follow]
