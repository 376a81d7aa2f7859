"""Measure how long ocicaliban takes, against the plain tools or another checkout: `python -m tests.bench [NAME...]`."""
