"""Build a project's OCI image from layer recipes, without a daemon or root, and run it."""

__version__ = "0.1.0"
