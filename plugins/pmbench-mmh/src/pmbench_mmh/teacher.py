"""The teacher, and which of its maps a setting lets a student be compared with."""

from __future__ import annotations

import pmbench as pm

from .partial import PartiallyShared

AXES = {"sequence": 1, "image": 2, "clip": 2}
"""Axes that regions are cut along, by kind of modality; time of a clip is averaged away."""


def teacher_of(setting: pm.Setting, kind: str) -> pm.Stage:
    """One network over all modalities ("early", "psmm"), or the mean of finished streams ("late").

    Raises Unsupported where "psmm" cannot add the maps of all modalities.
    """
    if not setting.privileged:
        raise pm.Unsupported("needs a privileged modality, this setting has none")
    if kind == "psmm":
        require_joint_maps(setting, kind)
        return PartiallyShared(setting.all)
    if kind == "early":
        return pm.trained_on(*setting.all)
    return pm.LateFusion(tuple(pm.trained_on(m) for m in setting.all))


def region_axes(setting: pm.Setting, teacher: str) -> int:
    """Axes along which a region is the same place for teacher and student; 0 where there is none.

    Raises Unsupported where a head was not made for the mean over a region.
    """
    target = setting.only_target()
    axes = {AXES.get(setting.modalities[m].kind, 0) for m in setting.all}
    comparable = len(axes) == 1 and all(setting.aligned(target, m) for m in setting.privileged)
    maps = all("maps" in setting.backbones[m].provides for m in setting.all)
    if not (comparable and maps and (teacher == "late" or _joins_maps(setting))):
        return 0
    setting.require_mean(*setting.all)
    return axes.pop()


def require_joint_maps(setting: pm.Setting, teacher: str) -> None:
    """Raises Unsupported where the teacher has no maps behind the point where modalities are joined."""
    if teacher == "late":
        raise pm.Unsupported(
            "compares maps behind the fusion, and a late-fused teacher has none: its streams meet at logits",
            "leave teacher at early",
        )
    setting.require_maps(*setting.all)
    if not _joins_maps(setting):
        fused = ", ".join(
            f"{m.name} ({setting.backbones[m.name].name}, {m.kind} {m.shape})"
            for m in (setting.modalities[name] for name in setting.all)
        )
        raise pm.Unsupported(
            f"compares maps behind the fusion, but fusing {fused} joins pooled vectors",
            "choose one backbone that offers a tail, for modalities of one kind and size",
        )


def _joins_maps(setting: pm.Setting) -> bool:
    """Whether early fusion joins maps: one backbone with a tail for all, one kind, one size."""
    used = [(setting.backbones[m], setting.modalities[m]) for m in setting.all]
    backbone = used[0][0]
    alike = len({(b.name, m.kind, m.shape[1:]) for b, m in used}) == 1
    return alike and backbone.tail is not None and "maps" in backbone.provides
