# SPDX-License-Identifier: Apache-2.0

"""Sphinx configuration of the manual."""

extensions = ["openstackdocstheme", "oslo_config.sphinxext"]
project = "stable-rescue"
openstackdocs_auto_name = False
openstackdocs_use_storyboard = False
openstackdocs_pdf_link = False
html_theme = "openstackdocs"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
root_doc = "index"
