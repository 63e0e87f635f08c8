"""Networks and stages that plugins build on; public as `pm.<name>`.

`modules` has the encoders, classifiers and fusion networks, `contrast` a projection head and a memory bank,
`losses` the loss terms that several methods share, `stages` the stages that methods start from: streams,
fusion, distillation, pseudo-labels.

May import: errors, contracts.
"""
