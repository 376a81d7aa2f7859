"""Build a project's OCI image from layer recipes, without a daemon or root, and run it.

`ocicaliban.run`, `sweep`, `status` and `report` are there for scripts and notebooks; see docs/reference/python-api.md.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:  # for type checkers alone: an import of this package loads nothing else
    from ocicaliban.api import report, run, status, sweep

__all__ = ["report", "run", "status", "sweep"]


def __getattr__(name: str) -> object:
    """Return a function of the API, which is loaded when it is asked for."""
    if name in __all__:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.api"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
