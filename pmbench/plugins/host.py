"""Starts the processes that load plugins, so that the process of a command runs no code of theirs."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from ..contracts.metric import Evidence
from ..errors import PluginError, from_answer
from ..files import cache_folder
from ..isolation import rights
from ..isolation.forkserver import Child, ChildError, Forkserver
from ..processes import cores
from ..tracebacks import printable, trace_of
from . import facts
from .cache import DeclarationCache
from .inside import Report
from .registry import CORE, Broken, Registry, entry_points, load_plugins

_ENVIRONMENT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "HOME", "LD_LIBRARY_PATH")
_INSIDE = "pmbench.plugins.inside"


class Died(PluginError):
    """A process ended without an answer: by a signal, an exit, or with the server of all processes."""


class Host:
    """Calls functions where plugins are loaded.

    `sources` are the data files that installed packages ship, with the distribution of their data set; the
    processes of other distributions cannot read them. `limit` is the time in seconds in which plugins have to
    be imported, to plan, or to answer a question.
    """

    limit: ClassVar[float] = 60.0

    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        self.environment = {**environment, "OMP_NUM_THREADS": "1"}
        self._server = Forkserver([_INSIDE, "pmbench.plugins.registry:entry_points"], self.environment)
        self.sources: list[tuple[str, Path]] = []

    def call(
        self,
        function: str,
        distributions: Sequence[str],
        options: Mapping[str, Any],
        *,
        read: Iterable[Path] = (),
        write: Iterable[Path] = (),
        network: bool = False,
        folder: Path | None = None,
        limit: float | None = None,
        report: Report | None = None,
    ) -> Any:
        """The result of `function(registry, **options)`, "module:name", in a process of its own.

        Its registry has the plugins of `distributions`. Raises the error that the function raised, Died, or
        PluginError if the process did not end in `limit` seconds, which may be infinite. It starts in
        `folder`.
        """
        names, limit = ", ".join(distributions) or CORE, self.limit if limit is None else limit
        try:
            with self.process(
                function,
                distributions,
                options,
                read=read,
                write=write,
                network=network,
                folder=folder,
                reports=report is not None,
            ) as child:
                child.limit(None if limit == math.inf else limit)
                answer: Mapping[str, Any] = {}
                for answer in child.answers():
                    if "report" in answer and report is not None:
                        report(*answer["report"])
                usage = child.wait()
        except ChildError as error:
            raise Died(f"the process of {names} failed: {error}") from error
        if isinstance(answer.get("error"), dict):
            raise from_answer(answer["error"])
        if "result" not in answer:
            if child.timed_out:
                raise PluginError(f"the process of {names} took longer than {limit:.0f} s")
            raise Died(f"the process of {names} ended with code {usage.code}")
        return answer["result"]

    @contextlib.contextmanager
    def process(
        self,
        function: str,
        distributions: Sequence[str],
        options: Mapping[str, Any],
        *,
        read: Iterable[Path] = (),
        write: Iterable[Path] = (),
        network: bool = False,
        folder: Path | None = None,
        reports: bool = False,
        talks: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Child]:
        """The process of a call. A function that `talks` is given the option `answer`, an `Answer`.

        `environment` is added to the variables that all processes of plugins have.
        """
        with tempfile.TemporaryDirectory(prefix="pmbench-") as scratch:
            allowed = rights.of_code(
                read=read,
                write=[*write, Path(scratch)],
                hidden=[path for owner, path in self.sources if owner not in distributions],
                network=network,
            )
            arguments = {
                "function": function,
                "distributions": list(distributions),
                "options": _plain(options, Path(scratch)),
                "reports": reports,
                "talks": talks,
                "rights": dataclasses.asdict(allowed),
                "scratch": scratch,
                "folder": str(folder or scratch),
            }
            variables = {**self.environment, **(environment or {})}
            yield self._server.start(f"{_INSIDE}:serve", arguments, environment=variables)

    def ask(self, distribution: str) -> facts.Ask:
        """Calls functions of `inside` in processes with one distribution."""

        def ask(function: str, **options: Any) -> Any:
            return self.call(f"{_INSIDE}:{function}", [distribution], options)

        return ask


def survey(only: Collection[str] | None = None) -> Registry:
    """What all installed plugins declare, or those of the distributions `only`.

    Each is asked in a process of its own, unless its declarations are known from a command before. pmbench
    itself is loaded in this process. A plugin that raises, ends its process or hangs is in `broken`. One
    whose process has died is asked once more, when no other is being asked: what killed it may have been
    another plugin, or a machine without memory.
    """
    registry, host = load_plugins([CORE]), Host()
    versions = {name: version for name, version, _ in entry_points() if name != CORE}
    versions = {name: version for name, version in versions.items() if only is None or name in only}
    names = sorted(versions)
    cache = DeclarationCache(cache_folder("declarations"), host.environment)

    def declared(name: str) -> Any:
        if (known := cache.find(name)) is not None:
            return known
        try:
            found = host.call(f"{_INSIDE}:declarations", [name], {})
        except PluginError as error:
            return error
        cache.keep(name, found)
        return found

    with ThreadPoolExecutor(cores()) as pool:
        answers = list(pool.map(declared, names))
    for name, first in zip(names, answers, strict=True):
        found = declared(name) if isinstance(first, Died) else first
        _take(registry, name, versions[name], found, host)
    registry.settle()
    registry.host = host
    for offer in (offer for same in registry.offers["dataset"].values() for offer in same):
        source = offer.value.find_source()
        if source is not None and source.suffix != ".py":
            host.sources.append((offer.distribution, source))
    return registry


def _take(registry: Registry, name: str, version: str, found: Any, host: Host) -> None:
    """Adds what a distribution has declared."""
    try:
        if isinstance(found, PluginError):
            raise found
        for kind, values in found["offers"].items():
            registry.add(name, version, kind, [facts.read(value, host.ask(name)) for value in values])
        registry.hooks[name] = [str(hook) for hook in found["hooks"]]
        registry.distributions[name] = version
        registry.broken += [
            Broken(name, version, str(w), str(e), printable(t)) for w, e, t in found["broken"]
        ]
    except (PluginError, KeyError, TypeError, ValueError) as error:
        registry.broken.append(Broken(name, version, "import", str(error), trace_of(error)))


def _plain(options: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Options as JSON; arrays of evidence go into a file."""
    return {n: _evidence(v, scratch) if isinstance(v, Evidence) else v for n, v in options.items()}


def _evidence(evidence: Evidence, scratch: Path) -> dict[str, Any]:
    import numpy as np

    arrays = {name: getattr(evidence, name) for name in ("labels", "predicted", "logits", "features")}
    if evidence.gallery is not None:
        arrays["gallery_features"], arrays["gallery_labels"] = evidence.gallery
    file = scratch / "evidence.npz"
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    types = evidence.attack_types
    return {
        "arrays": str(file),
        "num_classes": evidence.num_classes,
        "positive": evidence.positive,
        "attack_types": None if types is None else list(types),
    }
