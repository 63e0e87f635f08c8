"""Plugins: loading them, what they declare as plain values, and processes that run their code.

May import `errors`, `files`, `isolation`, `contracts` and `metrics`.
"""

from .host import Host, survey
from .registry import CORE, Broken, Offer, Registry, load_plugins

__all__ = ["CORE", "Broken", "Host", "Offer", "Registry", "load_plugins", "survey"]
