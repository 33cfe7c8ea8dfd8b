# SPDX-License-Identifier: Apache-2.0
"""The storage of a rescue on the compute host: medium, volumes and record."""
