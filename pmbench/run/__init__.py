"""A run, from a request to records.

`request` names cells, `plan` expands them to cells and a graph of stages, `estimate` says
how long these take, `queue` orders the graph,
`coordinator` gives tasks to an executor (`executors`) whose processes carry them out (`worker`),
evaluates and scores; `recording` makes the records, with their `provenance`. `publishing` makes a submission
of results, `new_repository` a repository for those of many authors from the files in `repository`, `referee`
verifies those of others. `model` writes trained models, `exports` results and data in the forms of others.

May import: all rooms but testing, builtin and cli.
"""
