"""AMID: a student and a teacher composed of it and a privileged extractor, tied by mutual information."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .stages import Amid, AmidOptions, Compose


@pm.method(
    "amid",
    paper="Chen, Xing, Wang, Zhang, CVPR 2023, arXiv:2306.07646 (AMID)",
    teachers="own",
    deviations=(
        "the privileged extractor is the plain stream of the same data, not one from a larger data set",
        "backbones keep their own activations; leaky ReLU in the teacher's MLP and the discriminators alone",
        "warm-up for 20 epochs, at most a third of training",
        "L_MI is divided by the batch size once more where a class has over 2 samples in a batch",
    ),
    ablations={
        name: pm.Ablation(options, ("AMID", *printed) if printed else ())
        for name, options, *printed in (
            ("L_MIs", {"alpha2": 0.0, "alpha3": 0.0}, "Table 4", "L_MIs/student"),
            ("L_MIs + L_MIa", {"alpha3": 0.0}, "Table 4", "L_MIs+L_MIa/student"),
            ("full", {}, "Table 4", "full/student"),
            ("full with L_nce", {"mi": "nce"}, "Table 4", "full_with_L_nce/student"),
            *(
                (f"teacher: {row}", {"delivers": "teacher", **options}, "Table 4", f"{variant}/teacher")
                for row, options, variant in (
                    ("L_MIs", {"alpha2": 0.0, "alpha3": 0.0}, "L_MIs"),
                    ("L_MIs + L_MIa", {"alpha3": 0.0}, "L_MIs+L_MIa"),
                    ("full", {}, "full"),
                    ("full with L_nce", {"mi": "nce"}, "full_with_L_nce"),
                )
            ),
            (
                "teacher: alone",
                {"delivers": "teacher", "teacher": "fixed"},
                "Table 4",
                "teacher_alone/teacher",
            ),
            ("4 samples of each class in a batch", {"samples_per_class": 4}),
            ("fixed teacher", {"teacher": "fixed"}, "Table 5", "fixed_teacher"),
            ("no warm-up", {"warmup": 0.0}, "Table 5", "no_warmup"),
            ("no D2", {"second_discriminator": False}, "Table 5", "no_D2"),
            ("no dynamic weight", {"dynamic_weights": False}, "Table 5", "no_dynamic_weight"),
            *(
                (f"{name} = {value}", {name: value}, "Table 6", f"{name}={value}")
                for name, values in (
                    ("alpha1", (3.7, 3.8, 3.9, 4.0, 4.1, 4.2)),
                    ("alpha2", (1.3, 1.4, 1.5, 1.6, 1.7, 1.8)),
                    ("alpha3", (0.7, 0.8, 0.9, 1.0, 1.1, 1.2)),
                )
                for value in values
            ),
        )
    },
    deliveries=(pm.Delivery({"delivers": "teacher"}, "all"),),
    search={
        "alpha1": "log [0.4, 8]",
        "alpha2": "log [0.16, 3.2]",
        "alpha3": "log [0.1, 2]",
        "tau": "log [0.1, 1]",
    },
)
def amid(setting: pm.Setting, options: AmidOptions) -> pm.Stage:
    """Student tied by mutual information and a discriminator to a teacher composed of both extractors"""
    target = setting.only_target()
    if not setting.privileged:
        raise pm.Unsupported("needs a privileged modality to compose its teacher of, this setting has none")
    auxiliaries = tuple(pm.Stream(m) for m in setting.privileged)
    fixed = Compose(target, auxiliaries, options) if options.teacher == "fixed" else None
    if fixed and options.delivers == "teacher":
        return fixed
    return Amid(target, auxiliaries, options, fixed)


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (amid,)


@pm.hookimpl
def pmbench_published() -> Iterable[pm.Published]:
    return pm.read_published(__name__)
