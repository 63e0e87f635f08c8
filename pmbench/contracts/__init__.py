"""The interface of plugins: values and base classes.

Nothing here reads a file, and nothing imports torch at run time. A method is a function from a `Setting`
and its `Options` to its last `Stage`; a stage builds networks from a `Bench` and gives loss terms for a
`Batch`; a `Dataset` reads its official files into parts of samples and declares protocols.

May import: errors.
"""
