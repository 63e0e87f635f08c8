"""Writes features of the official release: wav2vec 2.0 on voices, BERT on words, a DenseNet on video.

`python -m pmbench_iemocap.features SOURCE` writes `features/<modality>/<utterance>.npy`, (T, D) float32, into
`SOURCE`, for the utterances of the four classes. Files that are there already stay as they are.

Voice and video have `STEPS` steps a second: the vectors of wav2vec 2.0 are averaged over each step, and one
frame is taken for each. Words have one step a token of BERT, the special ones among them. All are outputs of
the last layer; of the DenseNet, the mean over the frame.

Each video shows both actors of a dialog side by side, and only the half of the one who speaks is used. The
release does not say who is in which half: `LEFT` is a guess. Pictures in `features/halves` show its result.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pmbench as pm

from .dataset import Iemocap
from .reading import FEATURES, check_width
from .release import CLASS_OF, SESSIONS, Utterance, release, transcripts, utterances

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

MODELS: Mapping[str, str] = {
    "audio": "facebook/wav2vec2-base",
    "text": "google-bert/bert-base-uncased",
    "visual": "densenet121",
}
"""Modality -> name or folder of a model of transformers; for `visual` name of a model of timm."""
STEPS = 5  # a second
RATE = 16_000  # hertz, of the official sound and of wav2vec 2.0
BATCH = 64  # frames
LEFT: Mapping[str, str] = {f"Ses0{session}{markers}": markers for session in SESSIONS for markers in "FM"}
"""Session and actor with the markers, as dialogs are called -> the actor in the left half of their videos.

A guess, not looked up: that the actor with the markers is on the left. Look at `features/halves`.
"""

Made = Iterator[tuple[str, "np.ndarray"]]


def write(
    source: Path,
    models: Mapping[str, str],
    *,
    left: Mapping[str, str] = LEFT,
    dataset: pm.Dataset | None = None,
    device: str = "cpu",
    report: Callable[[str], None] = print,
) -> None:
    """Writes the features of the modalities in `models`, of the widths that `dataset` declares.

    Raises DataError for a file of the release that is missing, and for a model of another width.
    """
    import numpy as np

    dataset = dataset or Iemocap()
    folder = release(source)
    used = [one for one in utterances(source) if one.label in CLASS_OF]
    for modality, model in models.items():
        place = source / FEATURES / modality
        place.mkdir(parents=True, exist_ok=True)
        remaining = [one for one in used if not (place / f"{one.name}.npy").exists()]
        report(f"{modality}: {len(remaining):,} of {len(used):,} utterances to write, by {model}")
        if not remaining:
            continue
        if modality == "visual":
            made = visual(folder, remaining, model, device, left, source / FEATURES / "halves")
        else:
            made = {"audio": audio, "text": text}[modality](folder, remaining, model, device)
        for name, values in made:
            path = place / f"{name}.npy"
            check_width(values, path, dataset.modality(modality).shape[0])
            unfinished = path.with_suffix(".part")
            with unfinished.open("wb") as file:
                np.save(file, values.astype(np.float32), allow_pickle=False)
            unfinished.replace(path)


def audio(folder: Path, remaining: Sequence[Utterance], model: str, device: str) -> Made:
    """Utterance and (T, D): mean of the vectors of wav2vec 2.0 over each step of 1 / `STEPS` seconds."""
    import numpy as np

    transformers, torch = _library("transformers"), _library("torch")
    prepared = transformers.AutoFeatureExtractor.from_pretrained(model)
    network = transformers.AutoModel.from_pretrained(model).eval().to(device)
    together = max(1, round(RATE / math.prod(network.config.conv_stride) / STEPS))
    for one in remaining:
        path = folder / f"Session{one.session}" / "sentences" / "wav" / one.dialog / f"{one.name}.wav"
        values = prepared(sound(path), sampling_rate=RATE, return_tensors="pt")["input_values"]
        with torch.inference_mode():
            found: Tensor = network(values.to(device)).last_hidden_state[0]
        yield one.name, np.stack([piece.mean(0).cpu().numpy() for piece in found.split(together)])


def text(folder: Path, remaining: Sequence[Utterance], model: str, device: str) -> Made:
    """Utterance and (T, D): the vectors of BERT, one a token."""
    transformers, torch = _library("transformers"), _library("torch")
    tokens = transformers.AutoTokenizer.from_pretrained(model)
    network = transformers.AutoModel.from_pretrained(model).eval().to(device)
    for dialog, spoken in groupby(remaining, lambda one: one.dialog):
        words = transcripts(folder, dialog)
        for one in spoken:
            if one.name not in words:
                raise pm.DataError(
                    f"the transcript of {dialog} lacks {one.name}", "the release was not unpacked whole"
                )
            values = tokens(words[one.name], truncation=True, max_length=512, return_tensors="pt")
            with torch.inference_mode():
                yield one.name, network(**values.to(device)).last_hidden_state[0].cpu().numpy()


def visual(
    folder: Path,
    remaining: Sequence[Utterance],
    model: str,
    device: str,
    left: Mapping[str, str],
    shown: Path,
) -> Made:
    """Utterance and (T, D): the mean over the frame of a DenseNet's last layer, `STEPS` frames a second.

    Writes into `shown` one frame of each actor for each kind of dialog.
    """
    import numpy as np
    from PIL import Image

    timm, torch = _library("timm"), _library("torch")
    network = timm.create_model(model, pretrained=True, num_classes=0).eval().to(device)
    config = timm.data.resolve_model_data_config(network)
    mean, std = (torch.tensor(config[name], device=device) for name in ("mean", "std"))
    shown.mkdir(parents=True, exist_ok=True)
    for dialog, group in groupby(remaining, lambda one: one.dialog):
        spoken = list(group)
        path = folder / f"Session{dialog[4]}" / "dialog" / "avi" / "DivX" / f"{dialog}.avi"
        speakers = {one.name: one.speaker for one in spoken}
        vectors: dict[str, list[np.ndarray]] = {one.name: [] for one in spoken}
        for batch in _batches(halves(path, spoken, left[dialog[:6]], config["input_size"][-1])):
            for name, frame in batch:
                picture = shown / f"{dialog[:6]}-{speakers[name]}.png"
                if not picture.exists():
                    Image.fromarray(frame).save(picture)
            pixels = torch.from_numpy(np.stack([frame for _, frame in batch])).to(device)
            with torch.inference_mode():
                found = network(((pixels / 255 - mean) / std).permute(0, 3, 1, 2)).cpu().numpy()
            for (name, _), vector in zip(batch, found, strict=True):
                vectors[name].append(vector)
        for name, rows in vectors.items():
            if not rows:
                raise pm.DataError(f"{path} ends before {name}", "get it again")
            yield name, np.stack(rows)


def halves(path: Path, spoken: Sequence[Utterance], left: str, side: int) -> Iterator[tuple[str, np.ndarray]]:
    """Utterance and frame (side, side, 3), uint8, for each step of each utterance of a dialog, in order.

    The frame is the half with the speaker: the left one for the actor `left`.
    """
    steps = {one.name: _steps(one) for one in spoken}
    for number, frame in enumerate(pm.media.video_frames(path, (side, 2 * side), fps=STEPS)):
        for one in spoken:
            if number in steps[one.name]:
                yield one.name, frame[:, :side] if one.speaker == left else frame[:, side:]


def sound(path: Path) -> np.ndarray:
    """Samples (n,) from -1 to 1 of an official file; raises DataError for one of another rate."""
    import numpy as np
    import scipy.io.wavfile

    try:
        rate, samples = scipy.io.wavfile.read(path)
    except (OSError, ValueError) as error:
        raise pm.DataError(f"{path} cannot be read: {error}", "the release was not unpacked whole") from error
    if rate != RATE or samples.ndim != 1 or samples.dtype != np.int16 or not len(samples):
        raise pm.DataError(
            f"{path} has shape {samples.shape} of {samples.dtype} at {rate:,} hertz; expected (n,) of int16 "
            f"at {RATE:,}",
            "the sounds of sentences/wav are needed as they are",
        )
    return samples.astype(np.float32) / 32_768


def _steps(one: Utterance) -> range:
    """Numbers of the frames of an utterance, at least one."""
    first = math.ceil(one.start * STEPS)
    return range(first, max(math.ceil(one.end * STEPS), first + 1))


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise pm.UsageError(
            f"features need the package {name}: {error}", "`pip install 'pmbench-iemocap[features]'`"
        ) from error


def _half(text: str) -> tuple[str, str]:
    kind, _, actor = text.partition("=")
    if kind not in LEFT or actor not in ("F", "M"):
        raise argparse.ArgumentTypeError(f"{text!r}; expected such as Ses01F=M, for one of {', '.join(LEFT)}")
    return kind, actor


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m pmbench_iemocap.features", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("source", type=Path, help="folder with IEMOCAP_full_release, or that folder")
    parser.add_argument("--audio", default=MODELS["audio"], help="model of transformers: name or folder")
    parser.add_argument("--text", default=MODELS["text"], help="model of transformers: name or folder")
    parser.add_argument("--visual", default=MODELS["visual"], help="model of timm: name, or local-dir:FOLDER")
    parser.add_argument("--only", choices=MODELS, help="write the features of this modality alone")
    sides = "actor in the left half of the videos of dialogs Ses01F_...; repeatable"
    parser.add_argument("--left", type=_half, action="append", default=[], metavar="Ses01F=M", help=sides)
    parser.add_argument("--device", default="cpu", help="device of torch, such as cuda")
    given = parser.parse_args(arguments)
    models = {name: getattr(given, name) for name in MODELS if given.only in (None, name)}
    try:
        write(given.source, models, left={**LEFT, **dict(given.left)}, device=given.device)
    except pm.PmbenchError as error:
        print(f"Error: {error.message}\n{error.hint or ''}".strip(), file=sys.stderr)
        return 1
    if "visual" in models:
        print(
            f"look at {given.source / FEATURES / 'halves'}: each picture must show the actor of its name, F "
            "the woman, M the man; where it does not, delete this folder and `visual`, and use --left"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
