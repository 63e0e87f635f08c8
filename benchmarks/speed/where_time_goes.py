"""Time profile of a run by part: `uv run python benchmarks/speed/where_time_goes.py`.

Runs `pmbench run --method hoffman` in one process with empty caches, and sums the seconds of each part.
"""

from __future__ import annotations

import collections
import functools
import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

SECONDS: dict[str, float] = collections.defaultdict(float)
OPEN: list[str] = []
PARTS = {
    "data": (
        "pmbench.run.plan:find_or_prepare",
        "pmbench.training.samples:training_view",
        "pmbench.training.samples:TrainingView.channel_stats",
    ),
    "planning": ("pmbench.run.plan:make_plan",),
    "training": ("pmbench.training.loop:Training.run",),
    "store": ("pmbench.store.store:Store.put", "pmbench.store.store:Store.whole"),
    "sealing": ("pmbench.evaluation.seal:seal",),
    "evaluation": ("pmbench.run.coordinator:Runner._evaluate",),
    "statistics and leaderboard": ("pmbench.run.session:write_board", "pmbench.cli.run:_show"),
}


def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose seconds are added to `part`, except those of other parts inside."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        started, inside = time.perf_counter(), sum(SECONDS.values())
        OPEN.append(part)
        try:
            return function(*args, **kwargs)
        finally:
            OPEN.pop()
            SECONDS[part] += time.perf_counter() - started - (sum(SECONDS.values()) - inside)

    return wrapper


def main() -> None:
    started = time.perf_counter()
    for name in ("torch", "lightning_fabric", "torch.export", "pyarrow.parquet", "pmbench.run.coordinator"):
        importlib.import_module(name)
    SECONDS["imports"] += time.perf_counter() - started
    for part, places in PARTS.items():
        for place in places:
            module_name, _, path = place.partition(":")
            owner: Any = importlib.import_module(module_name)
            *above, name = path.split(".")
            for step in above:
                owner = getattr(owner, step)
            setattr(owner, name, timed(part, getattr(owner, name)))
    from pmbench.cli.app import app

    with tempfile.TemporaryDirectory() as folder:
        sys.argv = [
            "pmbench",
            "run",
            "--method",
            "hoffman",
            "--workers",
            "0",
            "--store",
            f"{folder}/store",
            "--data",
            f"{folder}/data",
            "--out",
            f"{folder}/out",
        ]
        app(standalone_mode=False)
    total = time.perf_counter() - started
    SECONDS["everything else"] = total - sum(SECONDS.values())
    print("\n| part | seconds | share |\n|---|---:|---:|")
    for part, seconds in sorted(SECONDS.items(), key=lambda item: -item[1]):
        print(f"| {part} | {seconds:.1f} | {seconds / total:.1%} |")
    print(f"| all | {total:.1f} | 100.0% |")


if __name__ == "__main__":
    main()
