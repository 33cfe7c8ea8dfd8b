# SPDX-License-Identifier: Apache-2.0
"""The stable-rescue-status command: is this compute host ready for this version?

The command runs in the environment of nova-compute, and reads the configuration files
of nova-compute.
"""

import sys
import warnings
from collections.abc import Sequence

from stable_rescue.cmd.exits import too_old_nova

# oslo.upgradecheck ends with 0, 1 or 2, and with this status if a check has a bug.
ERROR = 255


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks, print their results, and return the highest of their codes."""
    with warnings.catch_warnings():
        if not sys.warnoptions:
            # Operators cannot act on what Nova's libraries say about themselves.
            warnings.simplefilter("ignore")
        return _check(list(sys.argv[1:] if arguments is None else arguments))


def _check(arguments: list[str]) -> int:
    try:
        from nova import conf as nova_conf
        from oslo_config import cfg
        from oslo_upgradecheck import upgradecheck

        from stable_rescue.cmd import checks
    except ImportError as exc:
        reason = too_old_nova() or (
            f"{exc}. Nova is not installed beside stable_rescue in {sys.prefix}; use "
            "the environment of nova-compute"
        )
        print(f"stable-rescue-status: {reason}", file=sys.stderr)
        return ERROR
    status: int = upgradecheck.main(
        nova_conf.CONF,
        project="nova",
        upgrade_command=checks.Checks(),
        argv=arguments,
        default_config_files=cfg.find_config_files("nova", "nova-compute"),
    )
    return status


if __name__ == "__main__":
    sys.exit(main())
