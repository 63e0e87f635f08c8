"""Plugins: loading them, what they declare as plain values, and processes that run their code.

May import `errors`, `files`, `isolation`, `contracts` and `metrics`.
"""

from .host import Host, survey
from .registry import CORE, LISTENING, Broken, Offer, Registry, load_plugins

__all__ = ["CORE", "LISTENING", "Broken", "Host", "Offer", "Registry", "load_plugins", "survey"]
