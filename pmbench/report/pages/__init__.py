"""Boards as pages: markdown, figures, a static site, tables for papers.

`front` is the page of all tables, `table` that of one table with `matrix` of all pairs and `limits` of what
it compares, `method` that of one method; `verification` says how far referees have verified rows. `figures`
plans and draws what `shown` and `studies` take from boards, `folder` writes all of them and compares them
with what is there, `site` makes pages for a browser, `formats` tables for papers. All are pure functions of
records and attestations.
"""
