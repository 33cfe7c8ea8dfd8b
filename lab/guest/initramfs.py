# SPDX-License-Identifier: Apache-2.0
"""The guest's root file system: busybox, ``init``, and some kernel modules."""

import re
import shutil
import struct
from pathlib import Path

from lab.guest.kernel import KernelTree
from lab.guest.tools import GuestBuildError, run, stamp

#: The guest loads these in this order. Device names follow from it: devices on the
#: mainboard come before USB devices, as in the images of most distributions.
_LOADED = (
    "button",
    "evdev",
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_balloon",
    "virtio_rng",
    "e1000",
    "e1000e",
    "sd_mod",
    "sr_mod",
    "ahci",
    "ata_piix",
    "virtio_scsi",
    "xhci_pci",
    "ehci_pci",
    "uhci_hcd",
    "usb_storage",
    "uas",
)
#: The guest loads these when it needs them.
_ON_DEMAND = ("scsi_mod", "floppy", "edd", "efivarfs", "isofs")
_SIGNED = b"~Module signature appended~\n"


def build(tree: KernelTree, init: Path, root: Path) -> Path:
    """Build the initramfs for the kernel of `tree` in `root`; return the archive.

    :raises GuestBuildError: if a module or tool is missing
    """
    for folder in ("bin", "dev", "lib", "mnt", "proc", "sys", "tmp"):
        (root / folder).mkdir(parents=True)
    busybox = shutil.which("busybox")
    if busybox is None:
        raise GuestBuildError("busybox not found: install busybox-static")
    shutil.copy(busybox, root / "bin" / "busybox")
    shutil.copy(init, root / "init")
    (root / "init").chmod(0o755)
    (root / "lib" / "lab-modules").write_text("\n".join(_LOADED) + "\n")
    _copy_modules(tree, root)
    stamp(root)
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    archive = run(
        ["cpio", "-o", "-H", "newc", "-R", "0:0", "--reproducible", "--quiet"],
        cwd=root,
        stdin="\n".join(names).encode() + b"\n",
    )
    # Most of a boot is unpacking, and zstd unpacks fastest under software emulation.
    result = root.with_suffix(".zst")
    result.write_bytes(run(["zstd", "-q", "-19", "-c"], stdin=archive))
    return result


def _copy_modules(tree: KernelTree, root: Path) -> None:
    """Copy the modules, the modules they depend on, and an index."""
    run(["depmod", "-b", tree.root, tree.version])
    depends: dict[str, list[str]] = {}
    for line in (tree.modules / "modules.dep").read_text().splitlines():
        module, _, needs = line.partition(":")
        depends[_name(module)] = [module, *needs.split()]
    target = root / "lib" / "modules" / tree.version
    for name in (*_LOADED, *_ON_DEMAND):
        if name not in depends:
            raise GuestBuildError(f"kernel {tree.version} has no module {name}")
        for module in depends[name]:
            copy = target / module
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(_unsigned((tree.modules / module).read_bytes()))
    for index in ("modules.order", "modules.builtin"):
        shutil.copy(tree.modules / index, target / index)
    run(["depmod", "-b", root, tree.version])
    for path in target.glob("modules.*"):
        if path.name not in ("modules.dep", "modules.alias", "modules.symbols"):
            path.unlink()  # busybox's modprobe reads only those three


def _unsigned(module: bytes) -> bytes:
    """Return the module without its signature, which takes the guest time to verify."""
    if not module.endswith(_SIGNED):
        return module
    # Before the mark is a structure of 12 bytes, which ends with the signature's size.
    (size,) = struct.unpack_from(">I", module, len(module) - len(_SIGNED) - 4)
    return module[: len(module) - len(_SIGNED) - 12 - size]


def _name(module: str) -> str:
    return re.sub(r"\.ko.*$", "", module.rsplit("/", 1)[-1]).replace("-", "_")
