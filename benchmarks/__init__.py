# SPDX-License-Identifier: Apache-2.0
"""Measurements, which tests never make: ``tools/bench`` runs them.

``catalog`` names the benchmarks and their cases. ``cloud`` has those that need the lab,
and runs in its sandbox with the virtual environment's Python; ``domain`` and
``periodic`` need no service. A run is a JSON file (``results``). ``report`` computes
medians, ratios and verdicts from it, and ``page`` writes the manual's page.
"""
