from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pmbench_ntu.miniature import write_skeleton
from pmbench_ntu.skeletons import alignment, skeletons

from pmbench.errors import DataError

SCALE, OFFSET = 0.34, np.array([-55.0, 20.0])


def joints(shift: float = 0.0, tracking: int = 2) -> np.ndarray:
    """(25, 12): a body whose depth pixels are SCALE * colour pixels + OFFSET."""
    rng = np.random.default_rng(7)
    position = rng.normal(size=(25, 3)) * 0.4 + (shift, 0, 3)
    colour = position[:, :2] / position[:, 2:] * 1000 * (1, -1) + (960, 540)
    values = np.concatenate([position, colour * SCALE + OFFSET, colour, np.zeros((25, 4))], 1)
    return np.concatenate([values, np.full((25, 1), tracking)], 1)


def written(tmp_path: Path, frames: list[dict[str, np.ndarray]]) -> Path:
    write_skeleton(tmp_path / "S001C001P001R001A001.skeleton", frames)
    return tmp_path / "S001C001P001R001A001.skeleton"


def test_values_go_where_they_belong(tmp_path):
    found = skeletons(written(tmp_path, [{"7205": joints(0.1 * t)} for t in range(4)]))
    assert found.positions.shape == (4, 2, 25, 3)
    np.testing.assert_allclose(found.positions[2, 0], joints(0.2)[:, :3], rtol=1e-5)
    np.testing.assert_allclose(found.depth[3, 0], joints(0.3)[:, 3:5], rtol=1e-5)
    np.testing.assert_allclose(found.colour[1, 0], joints(0.1)[:, 5:7], rtol=1e-5)
    assert (found.tracking[:, 0] == 2).all()
    assert np.isnan(found.positions[:, 1]).all()
    assert (found.tracking[:, 1] == 0).all()


def test_the_two_bodies_that_move_most_are_kept(tmp_path):
    speeds = {"still": 0.0, "slow": 0.02, "fast": 0.2}
    frames = [{name: joints(speed * t) for name, speed in speeds.items()} for t in range(6)]
    del frames[3]["fast"]
    found = skeletons(written(tmp_path, frames))
    np.testing.assert_allclose(found.positions[5, 0], joints(1.0)[:, :3], rtol=1e-5)
    np.testing.assert_allclose(found.positions[5, 1], joints(0.1)[:, :3], rtol=1e-5)
    assert np.isnan(found.positions[3, 0]).all()


def test_frames_without_a_body(tmp_path):
    found = skeletons(written(tmp_path, [{}, {"a": joints()}, {}]))
    assert np.isnan(found.positions[:, 0]).all((1, 2)).tolist() == [True, False, True]


def test_what_the_sensor_could_not_compute(tmp_path):
    path = written(tmp_path, [{"a": joints()}])
    lines = path.read_text().splitlines()
    lines[4] = " ".join([*lines[4].split()[:3], "-1.#IND", "nan", "-1.#INF", "nan", *lines[4].split()[7:]])
    path.write_text("\r\n".join(lines))
    found = skeletons(path)
    assert np.isnan(found.depth[0, 0, 0]).all()
    assert np.isfinite(found.depth[0, 0, 1:]).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lines: [], "line 1: 'the end of the file'; expected the number of frames"),
        (lambda lines: ["0"], "has no frame"),
        (lambda lines: ["two", *lines[1:]], "line 1: 'two'; expected the number of frames"),
        (lambda lines: ["9" * 9, *lines[1:]], r"line 1: '9{9}'; expected at most \d+ frames"),
        (lambda lines: ["9" * 5000, *lines[1:]], "line 1: '9{60}'; expected the number of frames"),
        (lambda lines: lines[:40], "line 41: 'the end of the file'; expected"),
        (lambda lines: [*lines, "1"], "expected the end of the file"),
        (
            lambda lines: [*lines[:2], "72 0 1", *lines[3:]],
            r"line 3: '72 0 1'; expected the values of a body",
        ),
        (lambda lines: [*lines[:3], "24", *lines[4:]], "line 4: '24'; expected 25 joints"),
        (lambda lines: [*lines[:4], "1 2 x", *lines[5:]], "line 5: '1 2 x'; expected the values of a joint"),
        (lambda lines: [*lines[:4], "x " * 12, *lines[5:]], "expected the values of a joint"),
    ],
)
def test_what_is_not_of_the_form_is_refused_with_its_line(tmp_path, change, reason):
    path = written(tmp_path, [{"a": joints()}, {"a": joints()}])
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(DataError, match=reason) as raised:
        skeletons(path)
    assert path.name in raised.value.message


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "x.skeleton").write_bytes(b"\xff\xfe")
    for name in ("x.skeleton", "missing.skeleton"):
        with pytest.raises(DataError, match="cannot be read"):
            skeletons(tmp_path / name)


def test_alignment_finds_scale_and_offset(tmp_path):
    wrong = joints(0.3, tracking=1)  # guessed joints do not count
    wrong[:, 3:5] *= 2
    found = alignment(skeletons(written(tmp_path, [{"a": joints()}, {"a": joints(0.2)}, {"a": wrong}])))
    assert found.scale == pytest.approx(SCALE, rel=1e-4)
    assert found.offset == pytest.approx(OFFSET, abs=0.05)
    # colour covers x from -55 to 597.8 and y from 20 to 387.2 of the depth image
    assert found.depth == pytest.approx((20 / 424, 0, 387.2 / 424, 1), abs=2e-4)
    assert found.colour == pytest.approx((0, 55 / 0.34 / 1920, 1, 567 / 0.34 / 1920), abs=2e-4)


def test_alignment_takes_medians_that_outliers_do_not_move(tmp_path):
    spoilt = joints()
    spoilt[:5, 3:5] += 150
    found = alignment(skeletons(written(tmp_path, [{"a": joints()}, {"a": spoilt}, {"a": joints()}])))
    assert found.scale == pytest.approx(SCALE, rel=1e-4)
    assert found.offset == pytest.approx(OFFSET, abs=0.05)


def test_alignment_needs_tracked_joints(tmp_path):
    with pytest.raises(DataError, match="no two tracked joints"):
        alignment(skeletons(written(tmp_path, [{"a": joints(tracking=1)}])))
    apart = joints()
    apart[:, 3:5] += 5000
    with pytest.raises(DataError, match="do not overlap"):
        alignment(skeletons(written(tmp_path, [{"a": apart}])))
