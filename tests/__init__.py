# SPDX-License-Identifier: Apache-2.0

import logging

# Nova tells of every thread pool's end after the capture of a test's log has ended.
logging.getLogger("nova.thread_pool_factory").setLevel(logging.WARNING)
