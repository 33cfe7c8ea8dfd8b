# SPDX-License-Identifier: Apache-2.0
"""A tempest plugin: does a cloud's rescue keep its promise? Needs no Nova."""
