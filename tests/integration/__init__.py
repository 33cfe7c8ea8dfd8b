# SPDX-License-Identifier: Apache-2.0
"""Tests with a real libvirt and QEMU, and guests that boot and tell what they see.

They run in namespaces with a libvirtd of their own::

    python -m lab.sandbox --state .lab/integration --libvirtd -- \\
        stestr --test-path tests/integration run --concurrency 2
"""

from tests import release

release.choose_concurrency()
