# SPDX-License-Identifier: Apache-2.0

"""A Nova compute driver whose rescue moves no device.

Importing this package imports nothing else: see ``stable_rescue.activation`` for
the way into nova-compute.
"""
