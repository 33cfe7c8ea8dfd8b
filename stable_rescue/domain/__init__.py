# SPDX-License-Identifier: Apache-2.0
"""libvirt domain definitions as values.

This package imports neither Nova nor libvirt and does no I/O. Text is parsed once, into
a :class:`~stable_rescue.domain.document.Domain`; every other function takes and returns
domains.
"""
