"""The documentation site: `uv run --group docs sphinx-build -W docs build/docs`."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402

import pmbench  # noqa: E402

project, author = "pmbench", "the pmbench contributors"
copyright = author
version = release = pmbench.__version__
extensions = ["myst_nb"]
nb_execution_mode = "off"  # the notebook is committed with its output; a test runs it
myst_enable_extensions = ["colon_fence", "html_image"]
myst_heading_anchors = 4
exclude_patterns = ["example"]
highlight_language = "text"
html_theme = "furo"
html_title = "pmbench"
nitpicky = True
linkcheck_timeout = 20
linkcheck_ignore = [r"https://doi\.org/"]  # publishers refuse programs

generate.write(HERE / "reference")
