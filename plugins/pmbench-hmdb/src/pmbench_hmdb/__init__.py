"""HMDB51: video with optical flow privileged."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .dataset import Hmdb51
from .demo import Hmdb51Demo


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    return (Hmdb51(), Hmdb51Demo())
