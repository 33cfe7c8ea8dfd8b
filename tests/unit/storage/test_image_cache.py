# SPDX-License-Identifier: Apache-2.0
"""The backing files that libvirt lists."""

import unittest

from lxml import etree

from stable_rescue.storage import image_cache

_RUNNING = """
<disk type='file'><driver name='qemu' type='qcow2'/><source file='/i/x/disk.rescue'/>
  <backingStore type='file'><source file='/i/x/snapshot'/>
    <backingStore type='file'><source file='/i/_base/a'/><backingStore/></backingStore>
  </backingStore>
</disk>"""
_VOLUME = """
<disk type='file'><driver name='qemu' type='qcow2'/><source file='/dead-nfs/volume'/>
</disk>"""


class BackingFilesTest(unittest.TestCase):
    def test_whole_chain_of_a_running_guest_is_used(self) -> None:
        files = image_cache.backing_files(etree.fromstring(_RUNNING))
        self.assertEqual(["/i/x/snapshot", "/i/_base/a"], list(files))

    def test_file_outside_the_instances_path_is_not_read(self) -> None:
        self.assertEqual([], list(image_cache.backing_files(etree.fromstring(_VOLUME))))
