"""Fit a line to noisy points by gradient descent, with Python alone."""

import argparse
import json
import os
import random

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, default=0.1)
parser.add_argument("--seed", type=int, default=0)
given = parser.parse_args()

dice = random.Random(given.seed)
points = [(x / 50, 2 * x / 50 + 1 + dice.gauss(0, 0.1)) for x in range(50)]
slope = height = 0.0
for _ in range(200):
    faults = [(x, slope * x + height - y) for x, y in points]
    slope -= given.rate * sum(x * fault for x, fault in faults) / len(points)
    height -= given.rate * sum(fault for _, fault in faults) / len(points)
loss = sum(fault**2 for _, fault in faults) / len(points)
print(f"task {os.environ.get('SLURM_ARRAY_TASK_ID', '-')}: y = {slope:.2f} x + {height:.2f}, loss {loss:.4f}")
if os.path.isdir("/out"):
    with open("/out/metrics.json", "w") as file:
        json.dump({"loss": loss}, file)
