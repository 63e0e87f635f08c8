"""First-party plugins, registered through the same hooks as everybody's."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    from .methods import METHODS

    return METHODS


@pm.hookimpl
def pmbench_backbones() -> Iterable[pm.Backbone]:
    from .backbones import BACKBONES

    return BACKBONES


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    from .local import Local
    from .planted import Planted

    return (Planted(), Local())


@pm.hookimpl
def pmbench_published() -> Iterable[pm.Published]:
    return pm.read_published(__name__)
