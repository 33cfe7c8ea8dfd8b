# SPDX-License-Identifier: Apache-2.0
"""The rescue of one server: what its files and libvirt say.

Rescues begin and end while they are read: files and domains may vanish at any moment.
"""

import dataclasses
import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
from lxml import etree
from nova import conf as nova_conf
from oslo_utils import timeutils

from stable_rescue import exception
from stable_rescue.domain import document, recognize, sources
from stable_rescue.domain.document import Domain
from stable_rescue.storage.record import Record, State
from stable_rescue.storage.store import Store

CONF = nova_conf.CONF

#: States that are not the record's: the record cannot be read; Nova's driver has
#: rescued the server; only unrescue.xml is left.
DAMAGED, UNRECORDED, LEFTOVER = "damaged", "unrecorded", "leftover"
#: The state, whatever the record says, if libvirt does not have a server of this host.
NO_DOMAIN = "no-domain"

# These last seconds. A rescue that is being prepared may have to fetch a large image.
_SHORT = (State.BEGINNING, State.ENDING, State.ENDED)
# nova-compute recovers a stalled rescue at the latest after this many stalled_after.
_LATEST = 1.5
# The values of a record that are text.
_TEXTS = ("image_id", "device", "bus", "original_xml", "rescue_xml")


@dataclass(frozen=True)
class Rescue:
    """What this host knows about the rescue of one server.

    ``record`` is None if there is none or it is damaged. ``domain`` is libvirt's
    domain, or None if libvirt does not have the server; ``definition`` has no devices
    then. Otherwise it is what the guest runs with, or would start with if it is off,
    without secrets. ``since`` is when the rescue system was started or, if the record
    does not say that, when the state was written, in UTC.
    """

    uuid: str
    domain: Any
    definition: Domain
    state: str
    record: Record | None
    since: datetime.datetime | None

    @property
    def is_running(self) -> bool:
        """True if the guest runs; libvirt gives only such a definition an id."""
        return self.definition.root.get("id") is not None

    @property
    def kind(self) -> str | None:
        """Stable or stock; None if that is unknown."""
        if self.record is not None:
            return "stock" if self.record.is_stock else "stable"
        if recognize.rescue_disk(self.definition) is not None:
            return "stable"
        return "stock" if recognize.is_rescue(self.definition) else None

    @property
    def device(self) -> str | None:
        """The device of the rescue and its bus; None if they are unknown."""
        disk = recognize.any_rescue_disk(self.definition)
        if disk is not None:
            return f"{disk.get('device', 'disk')} on {document.target_of(disk)[1]}"
        if self.record is not None and not self.record.is_stock:
            return f"{self.record.device} on {self.record.bus}"
        return None

    @property
    def is_overdue(self) -> bool | None:
        """True if the rescue lasts too long; None if there is no limit for it."""
        if self.state in (State.RESCUED, UNRECORDED):
            limit = float(CONF.rescue_timeout)
        elif self.state in _SHORT:
            limit = _LATEST * CONF.stable_rescue.stalled_after
        else:
            return None
        if limit <= 0 or self.since is None:
            return None
        return bool(timeutils.is_older_than(self.since, limit))

    def medium_bytes(self) -> int | None:
        """Return the virtual size of the rescue medium; None if it is unknown.

        The size of a raw file is asked from the file system, because libvirt may have
        to wait for QEMU.
        """
        disk = recognize.any_rescue_disk(self.definition)
        path = directory_of(self.uuid) / recognize.RESCUE_DISK
        driver = None if disk is None else disk.find("driver")
        if disk is None or (
            sources.path_of(disk) == str(path)
            and driver is not None
            and driver.get("type") == "raw"
        ):
            return _file_size(path)
        return _virtual_size(self.domain, disk)

    @property
    def domain_name(self) -> str | None:
        """libvirt's name of the server; None if libvirt does not have it."""
        return None if self.domain is None else str(self.domain.name())


def definition_of(domain: Any) -> str:
    """Return what a guest runs with, or would start with if it is off.

    Secrets are left out. Other errors of libvirt propagate.

    :returns: an empty text if the domain was deleted meanwhile
    """
    try:
        return str(domain.XMLDesc(0))
    except libvirt.libvirtError as exc:
        if exc.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return ""
        raise


def directory_of(uuid: str) -> Path:
    """Return the directory of an instance."""
    return Path(CONF.instances_path, uuid)


def original_of(rescue: Rescue) -> Domain | None:
    """Return the definition that unrescue restores, or None if it is lost."""
    saved = Store(str(directory_of(rescue.uuid))).load_original()
    if saved is None and rescue.record is not None:
        return Domain.parse(rescue.record.original_xml)
    return saved


def has_files(uuid: str) -> bool:
    """Return True if a server has the record of a rescue, or unrescue.xml."""
    files = Store(str(directory_of(uuid)))
    return files.has_record() or files.has_original()


def of_domain(domain: Any) -> Rescue | None:
    """Return the rescue of a domain's server; None if it has none, or has ended.

    Errors of libvirt propagate.

    :raises OSError: if a file cannot be read
    """
    uuid = str(domain.UUIDString())
    text = definition_of(domain) if has_files(uuid) else ""
    return _of_files(uuid, domain, Domain.parse(text)) if text else None


def without_domain(uuid: str) -> Rescue | None:
    """Return the rescue of a server that libvirt does not have; None if it has ended.

    :raises OSError: if a file cannot be read
    """
    return _of_files(uuid, None, _no_definition(uuid))


def _no_definition(uuid: str) -> Domain:
    return Domain.parse(
        f"<domain><name/><uuid>{uuid}</uuid><os><type/></os><devices/></domain>"
    )


def _of_files(uuid: str, domain: Any, definition: Domain) -> Rescue | None:
    """Return the rescue of a server, or None if it has ended meanwhile.

    :param domain: None if libvirt does not have the server
    :raises OSError: if a file cannot be read
    """
    files = Store(str(directory_of(uuid)))
    try:
        record = _usable(files.read())
    except exception.InvalidRecord:
        record, state = None, DAMAGED
    else:
        if record is not None:
            state = record.state.value
        elif files.has_original():
            state = UNRECORDED if recognize.is_rescue(definition) else LEFTOVER
        else:
            return None
    since = record.rescued_at if record and record.state is State.RESCUED else None
    if since is None:
        since = files.changed_at()
    if domain is None:
        state = NO_DOMAIN
    return Rescue(uuid, domain, definition, state, record, since)


def _usable(record: Record | None) -> Record | None:
    """Return a record whose values are what they should be.

    :raises InvalidRecord: if one is not
    """
    if record is None:
        return None
    for name in _TEXTS:
        if not isinstance(getattr(record, name), str):
            raise exception.InvalidRecord(f"{name} is not text")
    if not isinstance(record.image_checksum, str | None):
        raise exception.InvalidRecord("image_checksum is not text")
    try:
        for xml in (record.original_xml, record.rescue_xml):
            Domain.parse(xml)
    except exception.InvalidDomain as exc:
        raise exception.InvalidRecord(str(exc)) from exc
    return dataclasses.replace(
        record,
        rescued_at=_without_zone(record.rescued_at),
        launched_at=_without_zone(record.launched_at),
    )


def _without_zone(time: datetime.datetime | None) -> datetime.datetime | None:
    return timeutils.normalize_time(time) if time else None


def _file_size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _virtual_size(domain: Any, disk: etree._Element) -> int | None:
    try:
        return int(domain.blockInfo(document.target_of(disk)[0])[0])
    except libvirt.libvirtError:
        return None
