"""The environment's own pip, if it has one. Without it, `python -m pip` and `%pip` answer what to do instead."""

import os
import sys

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
for _folder in sys.path:
    _own = os.path.join(_folder or ".", "pip")
    if os.path.abspath(_folder or ".") != _OURS and os.path.isfile(os.path.join(_own, "__init__.py")):
        __path__ = [_own]
        __file__ = os.path.join(_own, "__init__.py")
        with open(__file__, encoding="utf-8") as _source:
            exec(compile(_source.read(), __file__, "exec"))
        break
