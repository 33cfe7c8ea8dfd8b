# SPDX-License-Identifier: Apache-2.0

"""Sphinx configuration of the release notes."""

extensions = ["openstackdocstheme", "reno.sphinxext"]
project = "stable-rescue"
openstackdocs_auto_name = False
html_theme = "openstackdocs"
root_doc = "index"
