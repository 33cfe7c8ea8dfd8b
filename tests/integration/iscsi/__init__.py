# SPDX-License-Identifier: Apache-2.0
"""Volumes over iSCSI, without the kernel's initiator.

The target is a real tgtd. Nova's volume driver and os-brick's connector are real, too.
QEMU takes the place of the kernel's initiator: libiscsi reads the target, a FUSE export
shows the LUN as a file, and a loop device makes a block device of the file. The
iscsiadm in this package starts and ends all that, and creates the entries in /sys and
/dev that os-brick looks for.
"""
