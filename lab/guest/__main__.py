# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.guest build --out DIR``: build the guest images."""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

from lab.guest import build
from lab.guest.builder import GuestBuildError


def main(argv: list[str] | None = None) -> int:
    """Build the images and print their paths; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.guest", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("build", help="build the images")
    command.add_argument(
        "--out", type=Path, required=True, help="folder for the images"
    )
    command.add_argument(
        "--cache", type=Path, help="folder for the kernel package (default: OUT/cache)"
    )
    options = parser.parse_args(argv)
    started = time.monotonic()
    try:
        images = build(options.out, options.cache or options.out / "cache")
    except GuestBuildError as error:
        print(f"Cannot build the guest images: {error}", file=sys.stderr)
        return 1
    for name, value in dataclasses.asdict(images).items():
        print(f"{name:22} {value}")
    print(f"{'seconds':22} {time.monotonic() - started:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
