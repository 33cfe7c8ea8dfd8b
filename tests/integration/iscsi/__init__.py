# SPDX-License-Identifier: Apache-2.0
"""Volumes over iSCSI, without the kernel's initiator.

The target is a real tgtd; the connector is os-brick's own, called by Nova's own volume
driver. What the kernel would do in between is done by QEMU's: libiscsi reads the
target, a FUSE export shows it as a file, a loop device makes that a block device. The
iscsiadm of this package starts and ends it, and shows in /sys and /dev what os-brick
looks for there.
"""
