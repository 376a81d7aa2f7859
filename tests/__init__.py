"""The tests; a package so that `python -m tests.bench` is this one, whatever else is installed."""
