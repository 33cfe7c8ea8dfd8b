# SPDX-License-Identifier: Apache-2.0
"""What the lab creates through OpenStack's own APIs.

Run with the virtual environment's Python, in the sandbox, the administrator's OS_*
variables set: ``python -m lab.cloud.NAME STATE``.
"""
