# SPDX-License-Identifier: Apache-2.0
"""A model of a server's whole life: any operations, in any order, with faults."""
