"""What ocicaliban costs in time, against what the same costs without it: `python -m tests.bench [NAME...]`."""
