# SPDX-License-Identifier: Apache-2.0
"""Faults, systematically: each point of a rescue x each fault."""
