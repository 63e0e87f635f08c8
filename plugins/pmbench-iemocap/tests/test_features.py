"""Features of a miniature release, by small random models of the libraries: no network is used."""

from __future__ import annotations

import importlib
from typing import ClassVar

import numpy as np
import pytest
import scipy.io.wavfile
from pmbench_iemocap import Iemocap
from pmbench_iemocap.features import LEFT, main, sound, write
from pmbench_iemocap.miniature import write_release
from pmbench_iemocap.reading import FEATURES
from pmbench_iemocap.release import CLASS_OF, utterances

import pmbench as pm
from pmbench.data.prepare import prepare

WIDTH = {"visual": 20, "audio": 16, "text": 12}


class Narrow(Iemocap):
    name = "narrow-iemocap"
    modalities = tuple(pm.Modality(name, "sequence", (width, 8), "1") for name, width in WIDTH.items())
    expected: ClassVar = {f"session-{k}": 20 for k in range(1, 6)}


def test_sound_of_another_rate_is_named(tmp_path):
    scipy.io.wavfile.write(tmp_path / "x.wav", 16_000, np.int16([-32_768, 0, 16_384]))
    np.testing.assert_array_equal(sound(tmp_path / "x.wav"), [-1, 0, 0.5])
    scipy.io.wavfile.write(tmp_path / "x.wav", 8_000, np.zeros(3, np.int16))
    with pytest.raises(pm.DataError, match=r"int16 at 8,000 hertz; expected \(n,\) of int16 at 16,000"):
        sound(tmp_path / "x.wav")
    with pytest.raises(pm.DataError, match=r"y\.wav cannot be read"):
        sound(tmp_path / "y.wav")


def test_the_command_names_what_is_wrong(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "has neither Session1 to Session5 nor IEMOCAP_full_release" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--left", "Ses06F=M"])
    assert "expected such as Ses01F=M" in capsys.readouterr().err


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    """Small random models, saved by the libraries' own functions."""
    transformers, timm = pytest.importorskip("transformers"), pytest.importorskip("timm")
    root = tmp_path_factory.mktemp("models")
    common = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    voice = transformers.Wav2Vec2Config(
        hidden_size=WIDTH["audio"],
        conv_dim=[8] * 7,  # strides of the original: 320 samples a vector
        num_feat_extract_layers=7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        **common,
    )
    transformers.Wav2Vec2Model(voice).save_pretrained(root / "audio")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(root / "audio")
    vocabulary = root / "vocab.txt"
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] no never great she left . ! ,"
    vocabulary.write_text("\n".join(words.split()))
    transformers.BertTokenizer(str(vocabulary)).save_pretrained(root / "text")
    language = transformers.BertConfig(hidden_size=WIDTH["text"], vocab_size=13, **common)
    transformers.BertModel(language).save_pretrained(root / "text")
    sizes = {"growth_rate": 8, "block_config": (1, 1)}
    network = timm.create_model("densenet121", pretrained=False, num_classes=2, **sizes)
    importlib.import_module("timm.models._hub").save_for_hf(
        network, root / "visual", model_args=sizes, safe_serialization=True
    )
    return {
        "audio": str(root / "audio"),
        "text": str(root / "text"),
        "visual": f"local-dir:{root / 'visual'}",
    }


@pytest.mark.slow
def test_features_of_a_release_are_prepared(models, tmp_path, capsys):
    source = write_release(tmp_path / "source", media=True)
    write(source, models, dataset=Narrow())
    assert "visual: 100 of 100 utterances to write" in capsys.readouterr().out
    used = [one for one in utterances(source) if one.label in CLASS_OF]
    rows = {m: [np.load(source / FEATURES / m / f"{one.name}.npy") for one in used] for m in WIDTH}
    assert {row.shape for row in rows["audio"]} == {(4, 16)}  # 0.8 s
    assert {row.shape for row in rows["visual"]} == {(4, 20)}
    assert rows["text"][0].shape == (2 + 4, 12)  # [CLS] no ! never . [SEP]
    found = prepare(Narrow(), source, tmp_path / "data")
    assert found.count("session-3") == 20
    # a DenseNet sees a bright half for the actor with the markers, a dark one for the other
    bright = {one.name[-4:]: row.mean(0) for one, row in zip(used[:2], rows["visual"], strict=False)}
    assert not np.allclose(bright["F000"], bright["M000"], rtol=0.02)
    assert {path.name for path in (source / FEATURES / "halves").iterdir()} == {
        f"{kind}-{actor}.png" for kind in LEFT for actor in "FM"
    }
    again = source / FEATURES / "text" / f"{used[0].name}.npy"
    again.unlink()
    other = source / FEATURES / "text" / f"{used[1].name}.npy"
    before = other.stat().st_mtime_ns
    write(source, models, dataset=Narrow())
    assert "text: 1 of 100 utterances to write" in capsys.readouterr().out
    assert other.stat().st_mtime_ns == before
    np.testing.assert_array_equal(np.load(again), rows["text"][0])
    again.unlink()
    assert main([str(source), "--only", "text", "--text", models["text"]]) == 1
    assert "has shape (6, 12); expected (T, 768)" in capsys.readouterr().err


def test_the_default_models_are_as_wide_as_the_data_set():
    timm = pytest.importorskip("timm")
    assert (
        timm.create_model("densenet121", num_classes=0).num_features == Iemocap().modality("visual").shape[0]
    )
