"""Keys of stages, and the folder of finished stages.

`keys` computes the identity of a stage from its fields, data, backbones, recipe, seed and the source of
its plugin (`source`), before anything is trained. `store` holds what was trained under a key: weights,
curve, description.

May import: the ground (errors, files, seeding, processes, plugins), contracts, metrics, networks.
"""
