# SPDX-License-Identifier: Apache-2.0
"""A whole OpenStack in processes of its own on one machine's loopback.

Standard library only: ``tools/lab`` runs on a Debian 12 that has nothing but Python.
"""
