"""Import this before Beam's TensorFlow handler: it is written for Keras 2, and for an older setuptools."""

import os
import sys
from types import SimpleNamespace
from typing import Any, cast

from packaging import version

os.environ["TF_USE_LEGACY_KERAS"] = "1"
# The handler imports tensorflow_hub, which takes this one function from a module setuptools dropped.
sys.modules.setdefault("pkg_resources", cast(Any, SimpleNamespace(parse_version=version.parse)))
