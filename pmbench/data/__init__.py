"""From official files to samples: download, unpack, read, write the prepared form, open parts of it.

`prepare` reads a data set's official form (`download`, `unpack`) and decodes its files in parallel
(`shards`) into the prepared form: one file for each modality and part, labels and ids apart, digests in
a manifest. `prepared` opens it, `frames` reads clips from mapped files, `access` restricts which of its
files a process may open.

May import: the ground, contracts, media, store.
"""
