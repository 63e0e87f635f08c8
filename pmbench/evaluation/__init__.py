"""From a finished stage to metrics on the test part, without the privileged modality.

`seal` exports the delivered network as a program of the target modalities, `program` checks the contents of
such a file, `evaluator` runs it in a process of its own and writes predictions, `scoring` joins labels to
finished predictions.

May import: the ground, contracts, metrics, networks, store, data, training.
"""
