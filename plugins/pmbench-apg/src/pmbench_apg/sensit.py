"""SensIT Vehicle: features of the acoustic and the seismic signal of vehicles that pass."""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pmbench as pm

if TYPE_CHECKING:
    import numpy as np

FEATURES = 50
"""Of each sensor: numbers 1 to 50 are acoustic, 51 to 100 seismic."""
FILES = {"train": "combined", "test": "combined.t"}


class Sensit(pm.Dataset):
    """98,528 measurements of three kinds of vehicles, as LIBSVM distributes them."""

    name = "sensit"
    summary = "3 kinds of vehicles, 98,528 measurements: seismic -> acoustic features"
    classes = ("class_1", "class_2", "class_3")
    modalities = (
        pm.Modality("acoustic", "vector", (FEATURES,), "1"),
        pm.Modality("seismic", "vector", (FEATURES,), "1"),
    )
    splits: ClassVar = {"libsvm": pm.Split("train", "test")}
    target = ("acoustic",)
    privileged = ("seismic",)
    default_protocol = "libsvm"
    expected: ClassVar = {"train": 78_823, "test": 19_705}
    backbones: ClassVar = {"acoustic": "mlp-64", "seismic": "mlp-64"}
    licence = "open download; the page states no licence; nothing is redistributed"
    source = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html"
    access = "get combined.bz2 and combined.t.bz2 of SensIT Vehicle (combined) into one folder"
    citation = (
        "Duarte, Hu: Vehicle classification in distributed sensor networks, Journal of Parallel and "
        "Distributed Computing 2004"
    )

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder with `combined` and `combined.t`, or with `combined_scale`; `.bz2` or not."""
        for part, name in FILES.items():
            labels, values = rows(_file(source, name))
            yield (
                part,
                pm.Part(
                    [f"{part}-{number:05d}" for number in range(1, len(labels) + 1)],
                    labels - 1,
                    {"acoustic": values[:, :FEATURES], "seismic": values[:, FEATURES:]},
                ),
            )


def rows(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) from 1 and features (N, 100), float32, of lines `label number:value ...`; others are 0."""
    import numpy as np

    labels: list[int] = []
    values: list[np.ndarray] = []
    try:
        with bz2.open(path, "rt") if path.suffix == ".bz2" else path.open() as file:
            for number, line in enumerate(filter(str.strip, file), 1):
                label, *pairs = line.split()
                row = np.zeros(2 * FEATURES, np.float32)
                for pair in pairs:
                    index, _, value = pair.partition(":")
                    if not 1 <= int(index) <= 2 * FEATURES:
                        raise pm.DataError(
                            f"{path}, line {number}: feature {index}; expected 1 to {2 * FEATURES}",
                            "the files of one sensor alone have 50; get those called combined",
                        )
                    row[int(index) - 1] = float(value)
                if float(label) not in (1, 2, 3):
                    raise pm.DataError(f"{path}, line {number}: class {label}; expected 1, 2 or 3")
                labels.append(int(float(label)))
                values.append(row)
    except (OSError, EOFError, ValueError) as error:
        raise pm.DataError(f"{path} cannot be read: {error}", "get it again") from error
    if not values or not np.stack(values)[:, FEATURES:].any():
        raise pm.DataError(
            f"{path} has no seismic features", "it is a file of one sensor alone; get those called combined"
        )
    return np.array(labels, np.int64), np.stack(values)


def _file(source: Path, name: str) -> Path:
    scaled = name.replace("combined", "combined_scale")
    for candidate in (f"{name}.bz2", name, f"{scaled}.bz2", scaled):
        if (source / candidate).is_file():
            return source / candidate
    other = [p.name for p in sorted(source.glob("*")) if p.name.startswith(("acoustic", "seismic"))]
    raise pm.DataError(
        f"{source} has no file {name}.bz2, {name}, {scaled}.bz2 or {scaled}",
        f"{other[0]} is of one sensor alone; get those called combined" if other else "both files are needed",
    )
