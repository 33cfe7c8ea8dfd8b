# SPDX-License-Identifier: Apache-2.0

"""Sphinx configuration of the manual."""

from pathlib import PurePosixPath

from docutils import nodes
from sphinx import addnodes
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


# Files above doc/source that a page includes.
_INCLUDED = {
    "README.rst": "index",
    "CONTRIBUTING.rst": "contributor/contributing",
    "HACKING.rst": "contributor/hacking",
}


def setup(app: Sphinx) -> None:
    """Connect the handlers of this file."""
    app.connect("doctree-read", link)
    app.connect("doctree-resolved", unlink)


def link(app: Sphinx, doctree: nodes.document) -> None:
    """Replace the names of files that are pages by links to these pages.

    README.rst and others are read outside the manual as well, where :doc: is no role.
    """
    here = app.env.current_document.docname
    for literal in list(doctree.findall(nodes.literal)):
        name = literal.astext()
        path = PurePosixPath(name)
        if name in _INCLUDED:
            page = _INCLUDED[name]
        elif path.suffix == ".rst" and path.is_relative_to("doc/source"):
            page = str(path.relative_to("doc/source").with_suffix(""))
        else:
            continue
        if page == here:
            continue
        literal.replace_self(
            addnodes.pending_xref(
                "",
                nodes.inline(name, name),
                refdomain="std",
                reftype="doc",
                reftarget=f"/{page}",
                refexplicit=False,
                refwarn=True,
                refdoc=here,
            )
        )


def unlink(app: Sphinx, doctree: nodes.document, _page: str) -> None:
    """Replace the links to other pages by their text in a manual page."""
    if app.builder.name == "man":
        for reference in list(doctree.findall(nodes.reference)):
            if reference.get("internal"):
                reference.replace_self(reference.children)
