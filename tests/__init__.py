# SPDX-License-Identifier: Apache-2.0

import logging

# Nova logs the end of every thread pool after the capture of a test's log has ended.
logging.getLogger("nova.thread_pool_factory").setLevel(logging.WARNING)
