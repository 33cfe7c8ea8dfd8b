# SPDX-License-Identifier: Apache-2.0
"""Libvirt domain definitions as values: XML text in, XML text out.

Nothing below this package imports Nova or libvirt, and nothing does I/O.
"""
