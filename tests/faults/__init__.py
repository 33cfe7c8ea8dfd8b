# SPDX-License-Identifier: Apache-2.0
"""The fault engine: faults, the places they strike at, and what must hold afterwards.

The functional and the integration tests share it. Each of them adds how a server is
made, how nova-compute is killed and how libvirt is broken.
"""
