"""Networks tested without a modality: dropped in training, replaced by a token, or made from the target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Literal

import pmbench as pm

from .dropping import DropInputs, DropOptions, LearnTokens, ModdropOptions
from .imputing import Impute, Reconstruct, Regress, RegressFeatures, Translate, TranslateOptions

LARGEST = 1 << 17
"""Numbers in an input that layers behind pooled features may make."""
FORM = "the mean of the logits of finished streams, or of streams fine-tuned together"


def _streams(setting: pm.Setting) -> tuple[pm.Stage, ...]:
    _require_privileged(setting)
    return tuple(pm.trained_on(m) for m in setting.all)


def _require_privileged(setting: pm.Setting) -> None:
    if not setting.privileged:
        raise pm.Unsupported("needs a privileged modality that is missing at test, this setting has none")


@pm.method(
    "moddrop",
    paper="Neverova, Wolf, Taylor, Nebout, arXiv:1501.00102, as in Garcia, Morerio, Murino, arXiv:1810.08437",
    deviations=(
        "a draw for each sample, as in the paper; the code of arXiv:1810.08437 draws for the whole batch and "
        "may drop every modality",
        "streams whose logits are averaged, as in arXiv:1810.08437; the paper has a fused hidden layer",
    ),
    search={"drop": "[0.05, 0.7]", "elements": "[0, 0.5]"},
)
def moddrop(setting: pm.Setting, options: ModdropOptions) -> pm.Stage:
    """Streams fine-tuned together while inputs are dropped at random, tested without the privileged ones"""
    return DropInputs(_streams(setting), setting.only_target(), options)


@pm.method(
    "missing_token",
    paper="Ramazanova, Pardo, Alwassel, Ghanem, arXiv:2401.11470",
    deviations=(
        "a token in place of the pooled features of a stream; the paper's replaces the tokens of a modality "
        "in a transformer",
        "modalities are dropped as in `moddrop`",
    ),
)
def missing_token(setting: pm.Setting, options: DropOptions) -> pm.Stage:
    """As `moddrop`, with one learned vector in place of the features of a missing modality"""
    return LearnTokens(_streams(setting), setting.only_target(), options)


@dataclass(frozen=True)
class FormOptions(pm.Options):
    form: Literal["indep", "joint"] = pm.option("indep", FORM)


@dataclass(frozen=True)
class RegressionOptions(FormOptions):
    space: Literal["input", "feature"] = pm.option(
        "input", "what is made: the privileged inputs, or the pooled features of their streams"
    )


def _fused(setting: pm.Setting, form: str) -> pm.Stage:
    streams = _streams(setting)
    return pm.LateFusion(streams) if form == "indep" else pm.JointLateFusion(streams)


@pm.method(
    "impute_regression",
    paper="row of estimated depth (FCRN) in Garcia, Morerio, Murino, arXiv:1810.08437",
    networks=3,
    deviations=(
        "a regression trained on the training samples, where the paper takes a finished network for depth",
        "inputs are made from pooled features, without a map of their positions",
    ),
)
def impute_regression(setting: pm.Setting, options: RegressionOptions) -> pm.Stage:
    """A regression makes the privileged input from the target, late fusion classifies both"""
    target, fused = setting.only_target(), _fused(setting, options.form)
    if options.space == "feature":
        return Impute(RegressFeatures(target, fused), fused, target, True)
    _require_small(setting, setting.privileged, "space=feature makes its pooled features")
    return Impute(Regress(target, setting.privileged), fused, target)


@pm.method(
    "impute_ae",
    paper="autoencoder of Garcia, Morerio, Murino, arXiv:1810.08437",
    networks=3,
    deviations=(
        "as many transposed convolutions as the backbone halves the input, half as wide each; the paper has "
        "five, of 1024 to 128 channels",
        "standardised inputs without bound at the end, where the paper has tanh on pixels",
    ),
)
def impute_ae(setting: pm.Setting, options: FormOptions) -> pm.Stage:
    """An autoencoder makes the privileged input from the target's last map, late fusion classifies both"""
    target, fused = setting.only_target(), _fused(setting, options.form)
    setting.require_maps(target)
    for m in setting.privileged:
        setting.require_aligned(target, m)
        if not _on_one_grid(setting, target, m):
            shapes = " and ".join(str(setting.modalities[name].shape) for name in (target, m))
            raise pm.Unsupported(f"makes {m!r} position by position from {target!r}, but they have {shapes}")
    return Impute(Reconstruct(pm.trained_on(target), setting.privileged), fused, target)


@pm.method(
    "mtnet",
    paper="proxy of the MT-Net row of Wei, Luo, Luo, IEEE TMM 2024; CycleGAN, arXiv:1703.10593",
    networks=2,
    deviations=(
        "a proxy: CycleGAN with the error to the paired sample; without the regulariser of regions of "
        "complexion and the discriminator of subspaces",
        "discriminators of the backbones' architecture; the translators have the standard recipe",
    ),
    search={"cycle": "log [1, 100]", "paired": "log [0.1, 10]"},
)
def mtnet(setting: pm.Setting, options: TranslateOptions) -> pm.Stage:
    """Proxy: target translated to the privileged modality against a discriminator; early fusion sees both"""
    target, privileged = setting.only_target(), setting.only_privileged()
    by_map = _on_one_grid(setting, target, privileged) and all(
        "maps" in setting.backbones[m].provides for m in setting.all
    )
    if not by_map:
        _require_small(setting, setting.all, "choose backbones with maps, for modalities on one grid")
    translated = Translate(target, privileged, by_map, options)
    return Impute(translated, pm.trained_on(*setting.all), target)


def _on_one_grid(setting: pm.Setting, one: str, other: str) -> bool:
    shapes = {setting.modalities[m].shape[1:] for m in (one, other)}
    return setting.aligned(one, other) and len(shapes) == 1


def _require_small(setting: pm.Setting, made: tuple[str, ...], hint: str) -> None:
    """Raises Unsupported for an input that is too large to be made from pooled features."""
    for m in made:
        if (numbers := prod(setting.modalities[m].shape)) > LARGEST:
            raise pm.Unsupported(f"makes {m!r} from pooled features, but it has {numbers} numbers", hint)


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (moddrop, missing_token, impute_regression, impute_ae, mtnet)
