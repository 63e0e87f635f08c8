"""ActivityNet 1.3: video with audio privileged."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .dataset import ActivityNet
from .demo import ActivityNetDemo


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    return (ActivityNet(), ActivityNetDemo())
