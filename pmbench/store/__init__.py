"""Keys of stages, and the store of finished stages.

`keys` computes the key of a stage from its fields, data, backbones, recipe, seed and the source of its plugin
(`source`), before anything is trained. `store` holds the weights, curve and description under each key.

May import: the ground (errors, files, seeding, processes, plugins), contracts, metrics, networks.
"""
