# SPDX-License-Identifier: Apache-2.0

"""Nova's tests, run with the classes of stable rescue."""

from tests import release

release.choose_concurrency()
