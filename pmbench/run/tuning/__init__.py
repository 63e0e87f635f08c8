"""Equal tuning: as many trials for every method, on validation data.

`request` says what is tuned, `sampling` which values a trial has, `journal` keeps finished trials, `trials`
plans them, `training` trains their stages in the processes of a run, `tune` does all this and confirms the
best trial, `files` has the files of a study, `summary` their tables, and `tuned` gives what was chosen to a
run. Nothing is sealed or evaluated: test data is never opened.
"""
