# SPDX-License-Identifier: Apache-2.0
"""The services of the lab, a module each; see lab/service.py for what they are."""
