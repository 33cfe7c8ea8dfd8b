# SPDX-License-Identifier: Apache-2.0

import configparser
import os
from pathlib import Path

import setuptools

# Otherwise pbr derives the version from git's tags. A shallow clone and an archive have
# none.
configuration = configparser.ConfigParser()
configuration.read(Path(__file__).with_name("setup.cfg"), encoding="utf-8")
os.environ["PBR_VERSION"] = configuration["metadata"]["version"]

setuptools.setup(setup_requires=["pbr>=6.1.1"], pbr=True)
