"""The referee of submissions: checks that say what is true of records, predictions and programs of others.

`outcome` has levels, checks and reports; `case` is one submission with the referee's own data and plans;
`folder`, `outcomes`, `seeds` and `plans` are the checks of level recompute, `programs` those of reinfer,
`retrain` that of retrain; `verify` runs the levels and writes attestations, `comment` puts a report into
markdown, `staleness` looks for records that today's code and data would not give.
"""
