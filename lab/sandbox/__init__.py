# SPDX-License-Identifier: Apache-2.0
"""Mount, network, PID and UTS namespaces that hold a lab, or a libvirtd for tests.

Nothing that runs in a sandbox touches a port, mount, socket or file of the host outside
the state folder. When the first process of the namespaces ends, every process in them
ends. Stand-alone use::

    python -m lab.sandbox --state DIR [--libvirtd] -- COMMAND ...

runs COMMAND in a new sandbox, returns its exit status and leaves nothing behind.
"""

from lab.sandbox.namespaces import REPOSITORY
from lab.sandbox.sandbox import Sandbox
from lab.sandbox.signals import exit_on_signals

__all__ = ["REPOSITORY", "Sandbox", "exit_on_signals"]
