"""Train a small neural network to recognise handwritten digits, and report its accuracy after each epoch."""

import argparse
import json
import os
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--rate", type=float, default=0.001, help="the learning rate")
parser.add_argument("--hidden", type=int, default=64, help="the number of hidden units")
parser.add_argument("--seed", type=int, default=0, help="for the initial weights and the order of the digits")
parser.add_argument("--epochs", type=int, default=20, help="the number of passes over the training digits")
args = parser.parse_args()

images, labels = load_digits(return_X_y=True)
train_images, test_images, train_labels, test_labels = train_test_split(
    images / 16, labels, test_size=0.5, random_state=0
)
model = MLPClassifier((args.hidden,), learning_rate_init=args.rate, batch_size=32, random_state=args.seed)

out = Path("/out" if os.path.isdir("/out") else ".")
with open(out / "metrics.jsonl", "w") as curve:
    for epoch in range(1, args.epochs + 1):
        model.partial_fit(train_images, train_labels, classes=range(10))
        accuracy = model.score(test_images, test_labels)
        point = {"step": epoch, "loss": round(model.loss_, 4), "accuracy": round(accuracy, 4)}
        print(json.dumps(point), file=curve, flush=True)
        print(f"epoch {epoch}: loss {model.loss_:.3f}, accuracy {accuracy:.3f}", flush=True)

weights = sum(part.size for part in model.coefs_ + model.intercepts_)
(out / "metrics.json").write_text(json.dumps({"accuracy": round(accuracy, 4), "weights": weights}))
