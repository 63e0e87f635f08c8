"""Executors: run tasks in this process (`inline`), in processes beside it (`local`), or on a cluster (`ray`).

`child` is one task in one process of this machine; `node` calls it on the nodes of a cluster.
"""
