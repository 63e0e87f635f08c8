"""IEMOCAP: features of the visible actor at test; those of voice and words besides in training."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .dataset import Iemocap
from .demo import IemocapDemo


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    return (Iemocap(), IemocapDemo())
