"""From records to boards: records, statistics, comparisons, the leaderboard as text and in the terminal.

`record` is the schema of a record, `record_files` reads and writes them, `boards` groups records and makes
`rows`, `comparison` pairs rows over seeds, `teachers` compares methods of one teacher, `placebo` says what is
left without privileged information, `statistics`, `resampling`, `gaps` and `ranks` compute intervals
and p-values, `summary` joins boards, `verdicts` and `headlines` put results into words, `terminal` and
`pages` show them. `submission` reads and writes results that are published, `attestations` what referees
have found about them.
Torch is not imported: a board is a function of records alone.

May import: errors, files, contracts, metrics.
"""
