# SPDX-License-Identifier: Apache-2.0
"""The model sees what is wrong with Nova's driver."""

from nova import conf as nova_conf

from stable_rescue import conf
from tests.functional.model.messages import Fate
from tests.functional.model.replay import ReplayTestBase


class StockDriverTest(ReplayTestBase):
    compute_driver = "libvirt.LibvirtDriver"

    def setUp(self) -> None:
        # Nova's driver does not register the options that the tests set.
        conf.register_opts(nova_conf.CONF)
        super().setUp()

    def test_model_finds_the_faults_of_the_stock_driver(self) -> None:
        restart, late = "service restarts", "messages arrive"
        volume = "attach or detach volume"
        for expected, steps in (
            # A stopped server runs after unrescue (U18).
            ("ACTIVE instead of {'SHUTOFF'}", ("stop", "rescue", "unrescue")),
            # A lost request leaves the server in its task (U24).
            ("a task is left", (("rescue", Fate.LOST), "time passes")),
            # A host reboot starts the broken system (U14).
            ("a rescue definition", ("rescue", "host boots", "service restarts")),
            # A server that is restored in another way keeps the files of its rescue.
            (
                r"\['unrescue.xml'\]: files",
                ("rescue", "soft delete", "restore", restart),
            ),
            # A second rescue overwrites the original definition (U8).
            (": unrescue.xml", ("rescue", "reset to error", "rescue", restart)),
            # A volume that is detached late comes back with unrescue (U36).
            (
                "volumes in the definition",
                (volume, (volume, Fate.LATE), "rescue", late, restart, "unrescue"),
            ),
        ):
            with self.assertRaisesRegex(AssertionError, expected):
                self.replay(*steps)
