# SPDX-License-Identifier: Apache-2.0

"""Sphinx configuration of the release notes."""

from configparser import ConfigParser
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

_SETUP = Path(__file__).resolve().parents[2] / "setup.cfg"

extensions = ["reno.sphinxext"]
project = "stable-rescue"
html_theme = "furo"
html_title = "stable-rescue release notes"
html_show_sphinx = False
html_show_copyright = False
highlight_language = "text"
root_doc = "index"


def setup(app: Sphinx) -> None:
    """Connect the handler of this file, before the one that collects titles."""
    app.connect("doctree-read", name_version, priority=100)


def name_version(_app: Sphinx, doctree: nodes.document) -> None:
    """Replace the version that reno makes up for notes without a tag."""
    config = ConfigParser()
    config.read(_SETUP)
    for title in doctree.findall(nodes.title):
        if title.astext() == "0.0.0":
            title[:] = [nodes.Text(config["metadata"]["version"])]
