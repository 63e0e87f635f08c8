"""Results and data in the forms of others.

`predictions` packs the logits of a row into one small file, `hub` writes the metadata of model cards of
Hugging Face, `croissant` that of prepared data sets, `eee` logs of Every Eval Ever.
"""
