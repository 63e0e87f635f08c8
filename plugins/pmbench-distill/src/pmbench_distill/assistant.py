"""The assistant of takd with a backbone of its own."""

from __future__ import annotations

from dataclasses import dataclass

import pmbench as pm


@dataclass(frozen=True)
class Assistant(pm.Distill):
    """Distillation into a network on the one target modality whose backbone is `backbone`."""

    backbone: str = ""

    @property
    def backbones(self) -> tuple[str, ...]:
        return (self.backbone,)

    def build(self, bench: pm.Bench) -> pm.Nets:
        student = bench.classifier(*self.target, backbone=self.backbone)
        return pm.Nets(student=student, teacher=bench.frozen(self.teacher))
