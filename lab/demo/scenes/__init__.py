# SPDX-License-Identifier: Apache-2.0
"""The scenes of the demo; each is a module, named as on the command line.

A scene has two functions. ``cases(request)`` returns the names of the cases that the
command line requests. ``play(stage, case)`` plays one of them, prints the result, and
returns True if there are no faults. If a step fails, it raises an exception, which
``lab.demo.play`` prints. A scene removes everything it has made, also if it fails.
"""
