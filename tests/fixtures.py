# SPDX-License-Identifier: Apache-2.0
"""Fixtures that several levels of tests share."""

import itertools
import re
import sys
from pathlib import Path
from typing import Any

import fixtures
from lxml import etree
from nova.conf import paths
from nova.tests.fixtures import libvirt as fakelibvirt


class ApiPasteFixture(fixtures.Fixture):
    """Makes Nova's tests find api-paste.ini in the place where Nova's wheel puts it.

    Nova's tests look for it beside the package, as in a source checkout.
    """

    def _setUp(self) -> None:
        original = paths.state_path_def

        def state_path_def(*parts: str) -> str:
            installed = Path(sys.prefix, *parts)
            return str(installed) if installed.exists() else original(*parts)

        self.useFixture(
            fixtures.MonkeyPatch("nova.conf.paths.state_path_def", state_path_def)
        )


class OneRouterFixture(fixtures.Fixture):
    """Makes a test's API build its routes once, instead of once for v2 and for v2.1.

    Building them takes longer than most requests.
    """

    def _setUp(self) -> None:
        routers: dict[type, Any] = {}

        def factory(router: type, _configuration: Any, **_options: Any) -> Any:
            if router not in routers:
                routers[router] = router()
            return routers[router]

        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.api.openstack.compute.routes.APIRouterV21.factory",
                classmethod(factory),
            )
        )


# The fixture of Nova 31 to 33 describes a network disk in this way.
_NO_FILE = re.compile(r"<source (?:file|dev)='None'/>")


class NetworkDiskFixture(fixtures.Fixture):
    """Makes Nova's libvirt fixture describe network disks without a file named None."""

    def _setUp(self) -> None:
        describe = fakelibvirt.Domain.XMLDesc
        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.Domain.XMLDesc",
                lambda domain, flags: _NO_FILE.sub("", describe(domain, flags)),
            )
        )


# Nova's libvirt fixture gives the same address to all disks.
_DRIVE = re.compile(r"(<address type='drive' [^>]*)unit='0'")


class TwoDefinitionsFixture(fixtures.Fixture):
    """Makes Nova's libvirt fixture keep a live and a next definition, as libvirt does.

    A new definition of a running domain takes effect at its next start (F26). Also, no
    two disks have the same address.
    """

    def _setUp(self) -> None:
        define = fakelibvirt.Connection.defineXML
        describe = fakelibvirt.Domain.XMLDesc

        def define_over(connection: Any, xml: str) -> Any:
            known = dict(connection._vms)
            new = define(connection, xml)
            _note_aliases(new, xml)
            old = known.get(new.name())
            if old is None:
                return new
            # Keep the object: the test, or Nova, may have a reference to it.
            connection._vms[new.name()] = old
            old._next = old._def if new._def == old._def else new._def
            if not old.isActive():
                old._def = old._next
            return old

        def describe_either(domain: Any, flags: int) -> str:
            live = domain._def
            if flags & fakelibvirt.VIR_DOMAIN_XML_INACTIVE:
                domain._def = getattr(domain, "_next", live)
            try:
                unit = itertools.count()
                xml = _DRIVE.sub(
                    lambda match: f"{match[1]}unit='{next(unit)}'",
                    describe(domain, flags),
                )
                return _with_aliases(domain, xml)
            finally:
                domain._def = live

        def become_next(stop: Any) -> Any:
            def stopped(domain: Any, *args: Any) -> Any:
                domain._def = getattr(domain, "_next", domain._def)
                return stop(domain, *args)

            return stopped

        for name, function in (
            ("Connection.defineXML", define_over),
            ("Domain.XMLDesc", describe_either),
            ("Domain.destroy", become_next(fakelibvirt.Domain.destroy)),
            ("Domain.shutdown", become_next(fakelibvirt.Domain.shutdown)),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f"nova.tests.fixtures.libvirt.{name}", function)
            )


def _note_aliases(domain: Any, xml: str) -> None:
    """Keep the disks' aliases with the domain, because Nova 31's fixture drops them."""
    elements = etree.fromstring(xml).iterfind("devices/disk")
    for disk, element in zip(domain._def["devices"]["disks"], elements, strict=True):
        alias = element.find("alias")
        if alias is not None:
            disk["alias"] = alias.get("name")


def _with_aliases(domain: Any, xml: str) -> str:
    """Return a definition with the aliases that Nova 31's and 32's fixtures omit."""
    root = etree.fromstring(xml)
    elements = root.iterfind("devices/disk")
    for disk, element in zip(domain._def["devices"]["disks"], elements, strict=True):
        if "alias" in disk and element.find("alias") is None:
            etree.SubElement(element, "alias", name=disk["alias"])
    return etree.tostring(root, encoding="unicode")
