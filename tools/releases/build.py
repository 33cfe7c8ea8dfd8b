# SPDX-License-Identifier: Apache-2.0
"""Build an sdist and a wheel that depend on the commit and on nothing else."""

import gzip
import shutil
import tarfile
from pathlib import Path

from releases.commands import run

_BUILD_SDIST = "import sys, pbr.build; pbr.build.build_sdist(sys.argv[1])"


def clone(repository: Path, folder: Path) -> Path:
    """Clone HEAD of a repository to a folder; return the folder.

    :raises ReleaseError: if git fails
    """
    head = run("git", "rev-parse", "HEAD", cwd=repository).strip()
    origin = repository.as_uri()
    run("git", "clone", "--quiet", "--no-checkout", origin, folder, cwd=repository)
    run("git", "checkout", "--quiet", "--detach", head, cwd=folder)
    return folder


def build(tree: Path, folder: Path, python: Path) -> tuple[Path, Path]:
    """Build the packages of a clone into a new folder; return the sdist and the wheel.

    The wheel is built from the sdist, as pip would build it.

    :param python: of an environment with the build requirements
    :raises ReleaseError: if a build fails
    """
    folder.mkdir()
    time = run("git", "log", "-1", "--format=%ct", cwd=tree).strip()
    run(python, "-c", _BUILD_SDIST, folder, cwd=tree, SOURCE_DATE_EPOCH=time)
    (sdist,) = folder.glob("*.tar.gz")
    normalize(sdist, int(time))
    run(
        *(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--no-cache-dir", f"--wheel-dir={folder}", sdist),
        cwd=folder,
        SOURCE_DATE_EPOCH=time,
    )
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def normalize(sdist: Path, time: int) -> None:
    """Write an sdist again without the time, the user and the order of its build."""
    rewritten = sdist.with_suffix(".rewritten")
    with (
        tarfile.open(sdist) as source,
        rewritten.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=time) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as target,
    ):
        for member in sorted(source.getmembers(), key=lambda each: each.name):
            content = source.extractfile(member) if member.isfile() else None
            member.mtime = time
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            executable = member.isdir() or member.mode & 0o100
            member.mode = 0o755 if executable else 0o644
            member.pax_headers = {}
            target.addfile(member, content)
    shutil.move(rewritten, sdist)
