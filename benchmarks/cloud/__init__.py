# SPDX-License-Identifier: Apache-2.0
"""The benchmarks that need the lab; each is a module of this package."""
