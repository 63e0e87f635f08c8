"""No pool at all: tasks run in the calling process, one after the other, where a debugger sees them."""

from __future__ import annotations

import contextlib
import sys
from concurrent.futures import Future

from ...processes import set_threads
from ..worker import Done, Place, Task, perform


class Inline:
    """The interface of LocalPool for `--workers 0`."""

    def __init__(self, workers: int, place: Place) -> None:
        set_threads(place.threads)
        self.place = place
        self._progress: list[tuple[str, int, int]] = []

    def submit(self, task: Task) -> Future[Done]:
        future: Future[Done] = Future()
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output is the command's own
                future.set_result(perform(task, self.place, lambda *news: self._progress.append(news)))
        except Exception as error:
            future.set_exception(error)
        return future

    def progress(self) -> list[tuple[str, int, int]]:
        news, self._progress = self._progress, []
        return news

    def kill(self) -> None:
        pass

    def close(self) -> None:
        pass
