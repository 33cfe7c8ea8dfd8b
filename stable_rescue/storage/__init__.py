# SPDX-License-Identifier: Apache-2.0
"""What a rescue puts on the host: its medium and its record."""
