# SPDX-License-Identifier: Apache-2.0
"""A tempest plugin that verifies the rescues of a cloud; it does not need Nova."""
