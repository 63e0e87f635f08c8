"""One training loop for the stages of all methods.

`samples` chooses the training and validation samples of a protocol and a seed, `batches` orders and
reads them, `bench` builds a stage's networks (`pretrained` weights included), `optimizers` and
`schedule` move them, `device` is where. `loop` trains, validates, saves checkpoints and selects; `train`
does it for one stage and stores the result.

May import: the ground, contracts, metrics, networks, store, data.
"""
