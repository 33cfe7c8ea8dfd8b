# SPDX-License-Identifier: Apache-2.0
"""Two operations on one server at the same time: each pair, at each point."""
