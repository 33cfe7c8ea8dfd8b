# SPDX-License-Identifier: Apache-2.0
"""The scenes of the demo, a module each, named as on the command line.

Each has two functions: ``cases(request)`` returns the names of what the command line
asks for, and ``play(stage, case)`` plays one of them, prints what was found, and
returns whether all is well. A step that fails is an exception; ``lab.demo.play``
prints it. Whatever a scene makes it removes, in the end as in a failure.
"""
