"""One training loop for the stages of all methods.

`samples` selects the training and validation samples of a protocol and a seed, `batches` orders and reads
them, `bench` builds a stage's networks, with `pretrained` weights if any. `optimizers` and `schedule` update
the parameters, `device` wraps the hardware. `loop` trains, validates, saves checkpoints and selects an epoch;
`train` runs it for one stage and stores the result.

May import: the ground, contracts, metrics, networks, store, data.
"""
