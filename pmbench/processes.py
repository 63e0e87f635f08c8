"""Child processes: their threads, and their end."""

from __future__ import annotations

import multiprocessing
import os
import threading


def set_threads(threads: int) -> None:
    """Threads of this process, before and after torch is there; bits depend on it, so it is never left to
    chance.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    import torch

    torch.set_num_threads(threads)


def leave_with_parent() -> None:
    """Ends this process as soon as the one that started it is gone."""

    def wait() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
