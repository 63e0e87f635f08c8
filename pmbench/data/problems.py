"""Files that cannot be read: errors, or samples that training does without."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..contracts.dataset import Dataset
from ..contracts.samples import Part
from ..errors import DataError, plural
from ..files import write_text
from .shards import Problem

LISTED = "problems.csv"
SHOWN = 5
"""Files that a note names; LISTED has all."""


def write_problems(parts: Mapping[str, Part], problems: Sequence[Problem], path: Path) -> None:
    """Writes part, modality, id and reason of each file that cannot be read."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("part", "modality", "id", "reason"))
    writer.writerows((p.part, p.modality, parts[p.part].ids[p.sample], p.reason) for p in problems)
    write_text(path, table.getvalue())


def check_problems(dataset: Dataset, problems: Sequence[Problem], listed: Path, skip: bool) -> None:
    """Raises DataError for files that cannot be read; with `skip` only for the target of a test sample."""
    test_parts = dataset.part_names(test=True)
    if skip:
        problems = [p for p in problems if p.part in test_parts and p.modality in dataset.target]
    if not problems:
        return
    reasons = "; ".join(p.reason for p in problems[:3]) + ("; ..." if len(problems) > 3 else "")
    if skip:
        raise DataError(
            f"{plural(len(problems), 'test sample')} of {dataset.name!r} cannot be read in the target "
            f"modality: {reasons}",
            f"a test part must be complete: get these files again and run the same command; {listed} lists "
            "all",
        )
    raise DataError(
        f"{plural(len(problems), 'file')} of {dataset.name!r} cannot be read: {reasons}",
        f"get them again and run the same command, which resumes; or leave them out of training with "
        f"--skip-damaged; {listed} lists all",
    )


def skipped(parts: Mapping[str, Part], problems: Sequence[Problem], listed: Path) -> list[str]:
    """Notes on the samples that lack a modality because its file cannot be read."""
    found = [
        f"skipped {p.modality} of {parts[p.part].ids[p.sample]} in {p.part}: {p.reason}"
        for p in problems[:SHOWN]
    ]
    if (more := len(problems) - SHOWN) > 0:
        found.append(f"skipped {plural(more, 'more file')}: {listed} lists all")
    return found
