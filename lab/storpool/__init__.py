# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a StorPool array and its kernel client, not StorPool.

OpenStack's side is real: Cinder's StorPool driver, os-brick's StorPoolConnector and
Nova's StorPool volume driver. Instead of an array they use this package, which serves
the part of StorPool's JSON API that they call. Volumes are sparse files, and loop
devices replace the block devices of StorPool's kernel client.

The stand-in shows nothing about the speed, redundancy or failures of StorPool. The lab
needs it for host block devices that os-brick connects and disconnects, because a rescue
has to do that right.

Layers: ``loop`` (the kernel's loop devices), ``client`` (devices and links to them),
``array`` (volumes and snapshots, kept over a restart), ``api`` (HTTP).
"""
