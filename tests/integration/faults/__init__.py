# SPDX-License-Identifier: Apache-2.0
"""A real SIGKILL at each point of a rescue, with a real libvirt and QEMU."""
