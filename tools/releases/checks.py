# SPDX-License-Identifier: Apache-2.0
"""Check what a release contains, and try it in an empty environment."""

import re
import tarfile
import venv
from pathlib import Path
from zipfile import ZipFile

from releases import ReleaseError
from releases.commands import run

_PACKAGE = "stable_rescue/"
_METADATA = re.compile(r"[^/]+\.dist-info/")
_DATA = re.compile(r"[^/]+\.data/data/")
#: What pbr leaves out of an sdist.
_NOT_IN_SDIST = {".gitignore"}
#: What an sdist contains beside the files of the repository.
_OF_SDIST = re.compile(r"PKG-INFO$|stable_rescue\.egg-info/")
_SAMPLE = "examples/q35-history.xml"


def check_files(tree: Path, sdist: Path, wheel: Path) -> int:
    """Compare the packages with the files of a clone; return how many the wheel has.

    :raises ReleaseError: if a file is missing, stale or changed
    """
    tracked = set(run("git", "ls-files", cwd=tree).splitlines())
    _check_names("sdist", _names_in_sdist(sdist), tracked - _NOT_IN_SDIST)
    wanted = {name for name in tracked if name.startswith((_PACKAGE, "etc/stable_re"))}
    packed = _files_of_wheel(wheel)
    _check_names("wheel", packed.keys(), wanted)
    changed = [name for name in packed if packed[name] != (tree / name).read_bytes()]
    if changed:
        raise ReleaseError(f"the wheel has other contents of {', '.join(changed)}")
    if f"{_PACKAGE}py.typed" not in packed:
        raise ReleaseError("the wheel has no py.typed")
    return len(packed)


def _check_names(kind: str, names: set[str], wanted: set[str]) -> None:
    if stale := names - wanted:
        raise ReleaseError(f"the {kind} has files that are not in git: {sorted(stale)}")
    if missing := wanted - names:
        raise ReleaseError(f"the {kind} lacks {sorted(missing)}")


def _names_in_sdist(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        paths = [each.name.partition("/")[2] for each in archive if each.isfile()]
    return {path for path in paths if not _OF_SDIST.match(path)}


def _files_of_wheel(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel, without its metadata, by their names in git."""
    with ZipFile(wheel) as archive:
        return {
            _DATA.sub("", name): archive.read(name)
            for name in archive.namelist()
            if not _METADATA.match(name)
        }


def check_version(version: str, *packages: Path) -> None:
    """Check the version in the names of the packages.

    :raises ReleaseError: if a package has another version
    """
    for package in packages:
        if not package.name.startswith(f"stable_rescue-{version}"):
            raise ReleaseError(f"{package.name} is not version {version}")


def check_metadata(tools: Path, folder: Path, *packages: Path) -> None:
    """Run twine and check-wheel-contents.

    :param tools: the folder of these programs
    :raises ReleaseError: with what they print, if they find something
    """
    run(tools / "twine", "check", "--strict", *packages, cwd=folder)
    (wheel,) = (package for package in packages if package.suffix == ".whl")
    run(tools / "check-wheel-contents", wheel, cwd=folder)


def try_wheel(wheel: Path, tree: Path, folder: Path, version: str) -> None:
    """Install a wheel into a new environment, and run its command there.

    :raises ReleaseError: if this fails, or the command prints something unexpected
    """
    venv.create(folder, with_pip=True)
    tools = folder / "bin"
    run(tools / "pip", "install", "--quiet", wheel, cwd=folder)
    command = tools / "stable-rescue"
    printed = run(command, "--version", cwd=folder).strip()
    if printed != version:
        raise ReleaseError(f"stable-rescue --version prints {printed}, not {version}")
    sample = tree / _SAMPLE
    plan = run(
        *(command, "plan", "--domain-xml", sample, "--property", "hw_rescue_bus=usb"),
        cwd=folder,
    )
    if "moved: 0 of" not in plan:
        raise ReleaseError(f"the plan of {_SAMPLE} is\n{plan}")
