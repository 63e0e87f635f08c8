"""The server of training and evaluation processes, started once for many runs: it takes seconds."""

from __future__ import annotations

import socket
from typing import Any

from pmbench.isolation.forkserver import Forkserver
from pmbench.run.executors.child import make_server


class SharedServer(Forkserver):
    """Outlives the runs that use it, also those in forks of the process that has started it."""

    @classmethod
    def of(cls, resources: Any) -> SharedServer:
        made = make_server(resources)
        return cls(made._preload, made._environment)

    def _ensure(self) -> socket.socket:
        return self._channel or super()._ensure()

    def close(self) -> None:
        """Called at the end of each run; `end` ends the server."""

    def end(self) -> None:
        super().close()
