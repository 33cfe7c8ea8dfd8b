# SPDX-License-Identifier: Apache-2.0
"""The original definition is read from the inactive or from the live definition."""

from unittest import mock

from oslotest import base

from stable_rescue import exception
from stable_rescue.virt import guest
from tests.unit.domain import samples


def fake_guest(inactive: str, live: str | None) -> mock.Mock:
    """Return a guest with these two definitions; without a live one it is off."""
    fake = mock.Mock(uuid="u")
    fake.is_active.return_value = live is not None
    fake.get_xml_desc.side_effect = lambda dump_inactive=False, **_flags: (
        inactive if dump_inactive else live
    )
    return fake


class ReadOriginalTest(base.BaseTestCase):
    """The definition that a rescue is derived from (F1)."""

    def read(self, inactive: str, live: str | None) -> str:
        return guest.read_original(fake_guest(inactive, live)).to_xml()

    def test_inactive_definition_is_read_if_guest_is_off(self) -> None:
        inactive = samples.read("pc")
        self.assertEqual(inactive, self.read(inactive, None))

    def test_inactive_definition_is_read_if_nothing_moved(self) -> None:
        inactive = samples.read("pc")
        self.assertEqual(inactive, self.read(inactive, samples.read("pc-migratable")))

    def test_live_definition_is_read_if_it_has_another_disk(self) -> None:
        inactive = samples.domain("pc")
        samples.remove_disk(inactive, "vdb")
        read = guest.read_original(
            fake_guest(inactive.to_xml(), samples.read("pc-migratable"))
        )
        targets = [disk.find("target").get("dev") for disk in read.disks()]
        self.assertEqual(["vda", "vdb", "vdc", "hda"], targets)
        self.assertNotIn("backingStore", read.to_xml())

    def test_secrets_are_part_of_both_definitions(self) -> None:
        asked = fake_guest(samples.read("pc"), samples.read("pc-migratable"))
        guest.read_original(asked)
        self.assertEqual(
            [True, True],
            [c.kwargs["dump_sensitive"] for c in asked.get_xml_desc.call_args_list],
        )


class DeletedPortsTest(base.BaseTestCase):
    """NICs whose ports were deleted, and ports that nobody knows (U25)."""

    MAC = "fa:16:3e:00:00:01"

    def setUp(self) -> None:
        super().setUp()
        draft = samples.domain("pc")
        for nic in list(draft.each_device("interface")):
            draft.devices.remove(nic)
        self.without_nic = draft.to_xml()
        samples.add(draft, f"<interface><mac address='{self.MAC}'/></interface>")
        self.with_nic = draft.to_xml()

    def start_with(
        self, cached: list[str], in_neutron: object = None, is_cache_old: bool = False
    ) -> str:
        """Return the definition that a server is started with.

        :param in_neutron: the ports that Neutron returns, or its error
        """
        driver, instance = mock.Mock(), mock.Mock()
        instance.get_network_info.return_value = [{"address": mac} for mac in cached]
        ask = driver._network_api.get_instance_nw_info
        ask.side_effect = in_neutron if isinstance(in_neutron, Exception) else None
        ask.return_value = in_neutron
        ports = guest.known_ports(
            driver, mock.Mock(), instance, self.with_nic, is_cache_old
        )
        xml = guest.without_deleted_ports(instance, self.with_nic, ports)
        self.assertEqual(in_neutron is not None, ask.called)
        return xml

    def test_nic_of_a_known_port_is_kept(self) -> None:
        self.assertEqual(self.with_nic, self.start_with([self.MAC]))

    def test_nic_without_port_is_left_out(self) -> None:
        self.assertNotIn(self.MAC, self.start_with(["fa:16:3e:00:00:02"]))

    def test_only_nic_is_left_out_if_neutron_has_no_port(self) -> None:
        self.assertNotIn(self.MAC, self.start_with([], in_neutron=[]))

    def test_nic_is_kept_if_only_neutron_knows_its_port(self) -> None:
        """Nova's cache was lost."""
        ports = [{"address": self.MAC}]
        self.assertEqual(self.with_nic, self.start_with([], in_neutron=ports))

    def test_nic_is_kept_if_neutron_does_not_answer(self) -> None:
        error = ConnectionError("refused")
        self.assertEqual(self.with_nic, self.start_with([], in_neutron=error))

    def test_port_deleted_since_the_cache_was_filled_is_left_out(self) -> None:
        xml = self.start_with([self.MAC], in_neutron=[], is_cache_old=True)
        self.assertNotIn(self.MAC, xml)

    def test_old_cache_is_used_if_neutron_does_not_answer(self) -> None:
        error = ConnectionError("refused")
        xml = self.start_with([self.MAC], in_neutron=error, is_cache_old=True)
        self.assertEqual(self.with_nic, xml)

    def test_neutron_is_not_asked_about_a_server_without_nic(self) -> None:
        self.with_nic = self.without_nic
        self.assertEqual(self.without_nic, self.start_with([]))


class ChangesTest(base.BaseTestCase):
    """What may change a domain only if the server is as expected."""

    def setUp(self) -> None:
        super().setUp()
        self.driver, self.instance = mock.Mock(), mock.Mock(uuid="u")
        self.host = self.driver._host

    def test_other_devices_than_planned_are_refused_before_trial(self) -> None:
        now = samples.domain("pc")
        planned = guest.layouts(fake_guest(now.to_xml(), None))
        samples.remove_disk(now, "vdb")
        self.host.get_guest.return_value = fake_guest(now.to_xml(), None)
        rescue = samples.parsed("q35")
        self.assertRaises(
            exception.Refused,
            guest.try_out,
            self.driver,
            self.instance,
            rescue,
            planned,
        )
        self.host.write_instance_config.assert_not_called()

    def test_guest_that_is_off_keeps_its_ports(self) -> None:
        """Nova's power-off would release ports of another server (U21)."""
        for power_off in (guest.power_off, guest.shut_down):
            self.host.get_guest.return_value = fake_guest(samples.read("pc"), None)
            power_off(self.driver, self.instance)
        self.driver.power_off.assert_not_called()
        self.host.get_guest.return_value = fake_guest("", samples.read("pc"))
        guest.power_off(self.driver, self.instance)
        self.driver.power_off.assert_called_once_with(self.instance)
