"""The training loop of all stages.

`samples` chooses the training and validation samples of a protocol and a seed, `batches` orders and reads
them, `bench` builds the networks of a stage, with `pretrained` weights, `optimizers` and `schedule` update
them on a `device`. `loop` trains, validates, saves checkpoints and selects; `train` trains one stage and
stores it.

May import: the ground, contracts, metrics, networks, store, data.
"""
