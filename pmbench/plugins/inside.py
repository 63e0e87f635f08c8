"""What is done in processes that load plugins: each function takes their registry and plain values."""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ..contracts.metric import Evidence
from ..errors import as_answer
from ..isolation.forkserver import Answer, add_site_packages
from ..isolation.landlock import Rights
from ..tracebacks import error_text, trace_of
from . import facts
from .registry import Registry, entry_points, load_plugins

_INSTALLED = {"site-packages", "dist-packages"}
_CORE = str(Path(__file__).parents[1]) + os.sep
_STANDARD = tuple(str(Path(sysconfig.get_path(name))) + os.sep for name in ("stdlib", "platstdlib"))
Report = Callable[[str, int, int], None]
"""Called with (what, number done, number in all)."""


def serve(arguments: Mapping[str, Any], answer: Answer) -> None:
    """The main function of a process: loads distributions and calls a function on their registry."""
    Rights(**arguments["rights"]).apply()
    add_site_packages()
    use_scratch(arguments["scratch"])
    os.chdir(arguments["folder"])
    module, _, name = arguments["function"].partition(":")
    try:
        registry = load_plugins(arguments["distributions"])
        function = getattr(importlib.import_module(module), name)
        options = dict(arguments["options"])
        if arguments["reports"]:
            options["report"] = lambda *news: answer({"report": news})
        if arguments["talks"]:
            options["answer"] = answer
        answer({"result": function(registry, **options)})
    except (Exception, SystemExit) as error:
        answer({"error": as_answer(error)})


def use_scratch(folder: str) -> None:
    """Lets Python and common libraries write their temporary and cached files into `folder`."""
    tempfile.tempdir = folder
    os.environ |= dict.fromkeys(("TMPDIR", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR"), folder)


def declarations(registry: Registry) -> dict[str, Any]:
    """All that the distributions offer, the hooks they implement, what cannot be used, and their files."""
    offers: dict[str, list[Any]] = {"published": [facts.write(number) for number in registry.published]}
    places = (*registry.offers.values(), registry.families)
    for found in [offer for place in places for same in place.values() for offer in same]:
        try:
            offers.setdefault(found.kind, []).append(facts.write(found.value))
        except (Exception, SystemExit) as error:
            where = f"declarations of {found.name}"
            registry.note_broken(found.distribution, where, error_text(error), trace_of(error))
    return {
        "offers": offers,
        "hooks": [hook for hooks in registry.hooks.values() for hook in hooks],
        "broken": [[broken.where, broken.error, broken.trace] for broken in registry.broken],
        "files": _files(registry.distributions),
    }


def _files(distributions: Collection[str]) -> list[str]:
    """Files that declarations may come from: of the packages of the distributions, with their folders, and
    modules that lie outside of installed packages.
    """
    points = [point for name, _, point in entry_points() if name in distributions]
    own = {point.module.partition(".")[0] for point in points}
    found: dict[str, None] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and (name.partition(".")[0] in own or not _INSTALLED.intersection(Path(file).parts)):
            found[file] = None
        for folder in getattr(module, "__path__", ()) if name in own else ():
            inside = (path for path in Path(folder).rglob("*") if "__pycache__" not in path.parts)
            found |= dict.fromkeys(map(str, (folder, *inside)))
    return [path for path in found if not path.startswith((_CORE, *_STANDARD))]


def named_dataset(registry: Registry, dataset: str, name: str) -> dict[str, Any]:
    return facts.write(registry.dataset(dataset).named(name))


def declared_dataset(registry: Registry, dataset: str, declaration: Mapping[str, Any]) -> dict[str, Any]:
    return facts.write(registry.dataset(dataset).declared(declaration))


def made_backbone(registry: Registry, prefix: str, rest: str) -> dict[str, Any]:
    return facts.write(registry.backbone(prefix + rest))


def measured(registry: Registry, metric: str, evidence: Mapping[str, Any]) -> float:
    """The value of a metric; `evidence` has plain values and, under `arrays`, a file of arrays."""
    import numpy as np

    with np.load(Path(evidence["arrays"]), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    gallery = (arrays.pop("gallery_features", None), arrays.pop("gallery_labels", None))
    found = Evidence(
        **arrays,
        num_classes=evidence["num_classes"],
        positive=evidence["positive"],
        gallery=None if gallery[0] is None else gallery,
        attack_types=evidence["attack_types"],
    )
    return float(registry.metric(metric).function(found))
