# SPDX-License-Identifier: Apache-2.0

"""Sphinx configuration of the release notes."""

extensions = ["reno.sphinxext"]
project = "stable-rescue"
html_theme = "furo"
html_title = "stable-rescue release notes"
html_show_sphinx = False
html_show_copyright = False
highlight_language = "text"
root_doc = "index"
