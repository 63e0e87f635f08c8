"""Hallucination networks: a network on the target modality learns to give the features of a privileged one."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .admd_plan import admd
from .backbones import mdms_resnet50
from .hoffman_plan import hoffman
from .mdms_plan import mdms, mdms_noisy, mdms_step3_connected


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (hoffman, mdms, mdms_step3_connected, mdms_noisy, admd)


@pm.hookimpl
def pmbench_backbones() -> Iterable[pm.Backbone]:
    return mdms_resnet50
