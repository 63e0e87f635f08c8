"""Face anti-spoofing: colour at test; depth and infrared besides in training."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .cefa import CasiaCefa
from .demos import CasiaCefaDemo, CasiaSurfChallengeDemo, CasiaSurfDemo
from .surf import CasiaSurf, CasiaSurfChallenge

__all__ = ["CasiaCefa", "CasiaSurf", "CasiaSurfChallenge"]


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    demos = (CasiaSurfDemo(), CasiaSurfChallengeDemo(), CasiaCefaDemo())
    return (CasiaSurf(), CasiaSurfChallenge(), CasiaCefa(), *demos)
