"""Boards as pages: markdown, figures, a static site, tables for papers.

`front` is the page of all tables, `table` that of one table, `method` that of one method, `figures` draws,
`folder` writes all of them and compares them with what is there, `site` makes pages for a browser,
`formats` tables for papers. All are pure functions of records.
"""
