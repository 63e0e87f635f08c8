"""The miniature of NTU RGB+D has the official layout and its pitfalls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pmbench_ntu.miniature import write_ntu
from pmbench_ntu.skeletons import alignment, skeletons

from pmbench import media


@pytest.fixture(scope="module")
def ntu(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ntu")
    return write_ntu(root, actions=(1, 2), subjects=(1, 3), cameras=(1, 2, 3), scale=0.1)


def test_it_has_the_official_layout(ntu):
    names = {p.name.removesuffix("_rgb.avi") for p in (ntu / "nturgb+d_rgb").iterdir()}
    assert len(names) == 12
    assert names == {p.name.removesuffix("_ir.avi") for p in (ntu / "nturgb+d_ir").iterdir()}
    assert names == {p.name for p in (ntu / "nturgb+d_depth_masked").iterdir()}
    missing = names - {p.stem for p in (ntu / "nturgb+d_skeletons").iterdir()}
    listed = (ntu / "NTU_RGBD_samples_with_missing_skeletons.txt").read_text().split("\n")
    assert listed[3:] == [*missing, ""]
    assert len(missing) == 1


def test_colour_and_depth_are_aligned(ntu):
    """Skeletons align colour and depth; the hand is at its joints, and the background is masked."""
    differing = 0
    for path in sorted((ntu / "nturgb+d_skeletons").iterdir()):
        joints = skeletons(path)
        found = alignment(joints)
        assert found.scale == pytest.approx(0.339, abs=1e-3)
        assert found.offset == pytest.approx((-69, 28), abs=0.5)
        folder = ntu / "nturgb+d_depth_masked" / path.stem
        depth = np.stack(list(media.depth_frames(folder, (40, 40), "MDepth-*.png")))
        rgb = list(
            media.video_frames(ntu / "nturgb+d_rgb" / f"{path.stem}_rgb.avi", (40, 40), crop=found.colour)
        )
        assert len(depth) == len(joints.tracking)
        assert 0 <= len(rgb) - len(depth) <= 2
        differing += len(rgb) != len(depth)
        body = np.nanmedian(joints.positions[:, 0, :, 2])
        nearest = depth[depth > 0].min() / 255 * 5
        assert nearest == pytest.approx(np.nanmin(joints.positions[:, 0, :, 2]), abs=0.3)
        assert nearest < body
        assert (depth == 0).mean() > 0.4  # masked
    assert differing


def test_samples_are_the_product_of_the_arguments(tmp_path):
    write_ntu(tmp_path, actions=(61,), subjects=(45, 106), setups=(18, 19), cameras=(1,), replications=(1, 2),
              frames=(6, 6), scale=0.06)  # fmt: skip
    names = sorted(p.name for p in (tmp_path / "nturgb+d_rgb").iterdir())
    assert names == [
        "S018C001P106R001A061_rgb.avi", "S018C001P106R002A061_rgb.avi",
        "S019C001P045R001A061_rgb.avi", "S019C001P045R002A061_rgb.avi",
    ]  # fmt: skip
