from __future__ import annotations

from pathlib import Path

import numpy as np
import pmbench_mfeat
import pytest
from pmbench_mfeat import Mfeat, MfeatZer

import pmbench as pm
from pmbench.testing import first_digests, parts_of, run_afresh

PINNED = {  # SHA-256 of the first 8 samples of the training and of the test part
    "pix": ("05dee22ab49d073f", "d84bc6e63a32d86a"),
    "fou": ("1069b0881601aa2e", "f73a155538c31543"),
    "zer": ("035f21fd54e46704", "65e21e596cf282de"),
    "mor": ("aff8516556139c5d", "088e99910a416a3d"),
    "kar": ("481f52ec8f7375ba", "3af3d8f2b6cd5ab0"),
    "fac": ("358daa756c27f20f", "50528444a4bd77a8"),
}


@pytest.fixture(scope="module")
def source() -> Path:
    path = Mfeat().find_source()
    assert path is not None
    return path


@pytest.fixture(scope="module")
def parts() -> dict[str, pm.Part]:
    return parts_of(Mfeat())


def test_counts(parts: dict[str, pm.Part]) -> None:
    assert {n: tuple(np.bincount(p.labels).tolist()) for n, p in parts.items()} == Mfeat.expected
    assert sum(len(p.ids) for p in parts.values()) == 2000


def test_arrays(parts: dict[str, pm.Part]) -> None:
    pinned = {(part, m): digests[i] for m, digests in PINNED.items() for i, part in enumerate(parts)}
    assert first_digests(parts) == pinned
    assert all(part.groups is None for part in parts.values())


def test_first_hundred_of_each_class_train(parts: dict[str, pm.Part]) -> None:
    for name, places in (("train", range(100)), ("test", range(100, 200))):
        assert list(parts[name].ids) == [f"d{label}-{place:03d}" for label in range(10) for place in places]
        assert parts[name].labels.tolist() == np.repeat(np.arange(10), 100).tolist()


def test_pixels_are_an_upright_digit(parts: dict[str, pm.Part]) -> None:
    pix, labels = parts["train"].arrays["pix"][:, 0], parts["train"].labels
    assert set(np.unique(pix)) == set(range(7))
    zero, one = pix[labels == 0].mean(0), pix[labels == 1].mean(0)
    assert zero[6:10, 6:9].mean() < 1 < zero[6:10].max()  # a zero is hollow
    assert one[6:10, 6:9].mean() > 3  # a one is not


def test_fourier_features_cannot_tell_six_from_nine(parts: dict[str, pm.Part]) -> None:
    """A nearest-mean classifier confuses 6 with 9 on `fou` and `zer`, not on the image."""

    def swapped(modality: str) -> float:
        a, b = parts["train"], parts["test"]
        x, z = (p.arrays[modality].reshape(1000, -1) for p in (a, b))
        x, z = (x - x.mean(0)) / (x.std(0) + 1e-6), (z - x.mean(0)) / (x.std(0) + 1e-6)
        means = [x[a.labels == c].mean(0) for c in (6, 9)]
        rows = np.isin(b.labels, (6, 9))
        guess = np.argmin([((z[rows] - m) ** 2).sum(1) for m in means], 0)
        return float((guess != (b.labels[rows] == 9)).mean())

    assert swapped("fou") > 0.3
    assert swapped("zer") > 0.3
    assert swapped("pix") < 0.05


def test_zernike_variant_shares_the_data(source: Path, parts: dict[str, pm.Part]) -> None:
    other = dict(MfeatZer().read(source))
    assert (MfeatZer.name, MfeatZer.target, MfeatZer.privileged) == ("mfeat-zer", ("zer",), ("pix",))
    for name, part in parts.items():
        assert other[name].ids == part.ids
        np.testing.assert_array_equal(other[name].arrays["zer"], part.arrays["zer"])


def test_damaged_or_wrong_file(source: Path, tmp_path: Path) -> None:
    whole = source.read_bytes()
    path = tmp_path / "mfeat.npz"
    for content in (b"", whole[: len(whole) // 2], b"wrong" + whole):
        path.write_bytes(content)
        with pytest.raises(pm.DataError, match="damaged, or another file"):
            dict(Mfeat().read(path))
    for missing in (tmp_path, tmp_path / "missing.npz"):
        with pytest.raises(pm.DataError, match="cannot be read"):
            dict(Mfeat().read(missing))


def test_vendored_file_is_small_and_attributed(source: Path) -> None:
    assert source.stat().st_size < 2_500_000
    folder = Path(__file__).parents[1]
    for text in ((folder / "NOTICE").read_text(), (folder / "README.md").read_text()):
        for fact in ("Duin", "10.24432/C5HC70", "Attribution 4.0"):
            assert fact in text


def test_listing_imports_no_numpy() -> None:
    run_afresh(
        "import sys, pmbench_mfeat as m; m.pmbench_datasets()\n"
        "assert not {'numpy', 'torch'} & set(sys.modules)"
    )


def test_offered_through_the_hook() -> None:
    for dataset in pmbench_mfeat.pmbench_datasets():
        protocol = dataset.protocol(dataset.default_protocol)
        assert (protocol.name, protocol.split_name, protocol.labels_per_class) == ("few-10", "fixed", 10)
        assert protocol.metrics == ("accuracy", "mean_class_accuracy", "macro_f1")
        assert set(dataset.backbones) == {m.name for m in dataset.modalities}
    assert Mfeat().protocol("fixed@pix").privileged == ("fou",)
