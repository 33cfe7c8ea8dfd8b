# SPDX-License-Identifier: Apache-2.0
"""Tests with a real libvirt and QEMU, whose guests boot and print what they see.

Run them in a sandbox that has its own namespaces and libvirtd::

    python -m lab.sandbox --state .lab/integration --libvirtd -- \\
        python -m tests.runner --test-path tests/integration run --concurrency 3
"""

from tests import release

release.choose_concurrency()
