# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a StorPool array and its kernel client. It is not StorPool.

Everything on OpenStack's side is the real thing: Cinder's StorPool driver, os-brick's
StorPoolConnector, Nova's StorPool volume driver. What they talk to is this package: the
part of StorPool's JSON API that they call, over sparse files, and loop devices where
the kernel client would make its own block devices. It says nothing about StorPool's
speed, redundancy or failures; it gives the lab a host block device that comes and goes
through os-brick, which is what a rescue has to get right.

Layers: ``loop`` (the kernel's loop devices), ``client`` (devices and their links),
``array`` (volumes and snapshots, kept over a restart), ``api`` (HTTP).
"""
