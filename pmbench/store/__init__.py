"""Keys of stages, and the store of finished stages.

`keys` computes the key of a stage from its fields, data, backbones, recipe, seed and the source of its plugin
(`source`), before anything is trained. `store` holds the weights, curve and description under each key.
`listing` says what a store holds, `integrity` whether it is damaged, `uses` what a run works with; `remote`
copies stages to another place and back.

May import: the ground (errors, files, seeding, processes, plugins), contracts, metrics, networks.
"""
