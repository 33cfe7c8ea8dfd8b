# SPDX-License-Identifier: Apache-2.0
"""Servers of the lab's OpenStack, for the demo and for chaos.

``api`` is the connection to OpenStack's API, ``factory`` makes images, volumes and
servers, and ``host`` looks at the servers from the lab's one host, without Nova.
All of this runs in the sandbox with the virtual environment's Python.
"""
