# SPDX-License-Identifier: Apache-2.0
"""What the lab creates through OpenStack's APIs.

``Lab.cloud`` runs ``python -m lab.cloud.NAME STATE`` in the sandbox, with the virtual
environment's Python and the administrator's OS_* variables.
"""
