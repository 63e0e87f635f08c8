"""Seismic and acoustic sensors: beside image patches (`apg`), and beside each other (`sensit`, `mod`)."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .demos import ApgDemo, ModDemo, SensitDemo
from .mod import Mod
from .patches import Apg
from .sensit import Sensit

__all__ = ["Apg", "Mod", "Sensit"]


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    return (Apg(), Sensit(), Mod(), ApgDemo(), SensitDemo(), ModDemo())
