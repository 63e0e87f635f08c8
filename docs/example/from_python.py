"""Run a method from Python and look at what came out: the example of docs/python.md, which a test runs."""

import pmbench

# What would be trained: cells, stages, time.
forecast = pmbench.plan("self_distill", "planted", seeds=2, options={"recipe.epochs": 2})
print(forecast)

# Trains, seals, evaluates, writes records and the leaderboard, as `pmbench run` does.
results = pmbench.run("self_distill", "planted", seeds=2, options={"recipe.epochs": 2}, out="results/example")
print(results)
print(results.to_markdown())

# A record is the outcome of one cell.
for record in results:
    if record.cell.method == "self_distill":
        print(record.cell.seed, round(record.metrics["accuracy"], 2), record.cost.parameters)

# Records of an earlier run, or of others.
again = pmbench.records("results/example")
assert again.to_markdown() == results.to_markdown()
