# SPDX-License-Identifier: Apache-2.0
"""A whole OpenStack on one machine, in namespaces with a loopback of their own.

``tools/lab`` runs on a Debian 12 that has nothing but Python, so everything that it
imports before it has made a virtual environment uses the standard library alone. What
needs OpenStack's client libraries runs in the sandbox, with that environment's Python.

pyproject.toml states the layers, from the command line down to the sandbox.
"""
