# SPDX-License-Identifier: Apache-2.0

from tests import release

release.choose_concurrency()
