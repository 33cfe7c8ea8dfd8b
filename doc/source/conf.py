# SPDX-License-Identifier: Apache-2.0

"""Sphinx configuration of the manual."""

from docutils import nodes
from sphinx.application import Sphinx

extensions = ["oslo_config.sphinxext"]
project = "stable-rescue"
html_theme = "furo"
html_title = project
html_show_sphinx = False
html_show_copyright = False
# Blocks without a language are screens and shell commands, not Python.
highlight_language = "text"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
root_doc = "index"
_AUTHORS = "stable-rescue contributors"
man_pages = [
    ("cli", "stable-rescue", "examine stable rescues", _AUTHORS, 1),
    (
        "upgrade",
        "stable-rescue-status",
        "check a compute host before an upgrade of stable_rescue",
        _AUTHORS,
        1,
    ),
]


def setup(app: Sphinx) -> None:
    """Connect the handlers of this file."""
    app.connect("doctree-resolved", unlink)


def unlink(app: Sphinx, doctree: nodes.document, _page: str) -> None:
    """Replace the links to other pages by their text in a manual page."""
    if app.builder.name == "man":
        for reference in list(doctree.findall(nodes.reference)):
            if reference.get("internal"):
                reference.replace_self(reference.children)
