"""The data set: four emotions, five folds by session."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .reading import files, lengths, sequence
from .release import CLASS_OF, SESSIONS, utterances

ALL = "+".join(f"session-{k}" for k in SESSIONS)


class Iemocap(pm.Dataset):
    """5,531 utterances of ten actors in four emotions; features of voice and words are privileged."""

    name = "iemocap"
    summary = (
        "4 emotions in 5,531 utterances of 10 actors: features of voice and words -> of the visible actor"
    )
    classes = ("angry", "happy", "sad", "neutral")
    modalities = (
        pm.Modality("visual", "sequence", (1024, 64), "1"),
        pm.Modality("audio", "sequence", (768, 64), "1"),
        pm.Modality("text", "sequence", (768, 64), "1"),
    )
    splits: ClassVar = {
        f"fold-{k}": pm.Split(
            "+".join(f"session-{other}" for other in SESSIONS if other != k),
            f"session-{k}",
            validation_groups=(f"Ses0{k % len(SESSIONS) + 1}F",),
        )
        for k in SESSIONS
    }
    averages: ClassVar = {"5-fold": tuple(f"fold-{k}" for k in SESSIONS)}
    target = ("visual",)
    privileged = ("audio", "text")
    default_protocol = "fold-1"
    metrics = ("wa", "ua")
    expected: ClassVar = {
        **{f"session-{k}": n for k, n in zip(SESSIONS, (1085, 1023, 1151, 1031, 1241), strict=True)},
        ALL: (1103, 1636, 1084, 1708),
    }
    backbones: ClassVar = {"visual": "cnn1d-64", "audio": "cnn1d-64", "text": "cnn1d-64"}
    recipes: ClassVar = {"amid/iemocap": pm.Recipe(lr=1e-3, epochs=60, batch_size=128)}
    setups: ClassVar = {
        "amid/iemocap": pm.Setup(
            papers=("AMID",),
            options={"amid": {"tau": 0.6, "dim": 768, "warmup_epochs": 5, "mi_reduction": "mean"}},
            differs=(
                "convolutions over time (cnn1d-64) instead of the paper's recurrent student",
                "the networks on voice and words learn the classes before they are frozen",
                "features of the actor's half of the frame instead of the face; checkpoints of the three "
                "feature networks are our choice",
                "optimiser, rate and epochs are our choice",
                "the bounds are means over the batch instead of sums",
                "one actor validates and does not train",
            ),
        )
    }
    licence = "on request, by a signed form, for research; no redistribution; nothing is redistributed"
    source = "https://sail.usc.edu/iemocap/"
    citation = (
        "Busso, Bulut, Lee, Kazemzadeh, Mower, Kim, Chang, Lee, Narayanan: IEMOCAP: Interactive Emotional "
        "Dyadic Motion Capture Database, Language Resources and Evaluation 42(4), 2008"
    )
    access = (
        "sign the release form and get IEMOCAP_full_release, then write the features beside it with "
        "`python -m pmbench_iemocap.features FOLDER`"
    )

    def at(self, source: Path) -> Iemocap:
        """A copy whose notes say how many utterances are longer than what is kept of them."""
        used = [one for one in utterances(source) if one.label in CLASS_OF]
        notes = []
        for modality in self.modalities:
            width, steps = modality.shape
            found = lengths(files(source, modality.name, used), width)
            if longer := sum(length > steps for length in found):
                notes.append(
                    f"{modality.name}: {longer:,} of {len(found):,} utterances have more than {steps} steps "
                    f"and are cut, the longest has {max(found):,}; shorter ones end in zeros"
                )
        made = copy.copy(self)
        made.__dict__["notes"] = (*self.notes, *notes)
        return made

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder with IEMOCAP_full_release, or that folder, and in it the folder `features`."""
        import numpy as np

        used = [one for one in utterances(source) if one.label in CLASS_OF]
        paths = {m.name: files(source, m.name, used) for m in self.modalities}
        for k in SESSIONS:
            rows = [row for row, one in enumerate(used) if one.session == k]
            mine = [used[row] for row in rows]
            yield (
                f"session-{k}",
                pm.Part(
                    [one.name for one in mine],
                    np.array([self.classes.index(CLASS_OF[one.label]) for one in mine], np.int64),
                    {
                        m.name: pm.Files(
                            [paths[m.name][row] for row in rows],
                            partial(sequence, width=m.shape[0], steps=m.shape[1]),
                        )
                        for m in self.modalities
                    },
                    [one.actor for one in mine],
                ),
            )
