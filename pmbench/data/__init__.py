"""From official files to samples: download, unpack, read, write the prepared form, open parts of it.

`prepare` reads a data set's official form (`download`, `unpack`) and decodes its files in parallel (`shards`)
into the prepared form: one file per modality and part, labels and ids apart, digests in a manifest.
`prepared` opens it, `frames` reads clips from memory-mapped files, `access` restricts the files that a
process may open. `demo` has a plugin write made-up samples in the official layout.

May import: the ground, contracts, media, store.
"""
