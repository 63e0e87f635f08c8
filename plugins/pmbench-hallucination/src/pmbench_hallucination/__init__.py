"""Hallucination networks: hoffman, mdms with its reference rows, and admd."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .admd import admd
from .backbones import mdms_resnet50
from .hoffman import hoffman
from .mdms import mdms, mdms_noisy, mdms_step3_connected


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (hoffman, mdms, mdms_step3_connected, mdms_noisy, admd)


@pm.hookimpl
def pmbench_backbones() -> Iterable[pm.Backbone]:
    return mdms_resnet50


@pm.hookimpl
def pmbench_published() -> Iterable[pm.Published]:
    return pm.read_published(__name__)
