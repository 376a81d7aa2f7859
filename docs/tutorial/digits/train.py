"""Train a support vector machine to recognise handwritten digits, and print its accuracy."""

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--C", type=float, default=1.0, help="the penalty for a misclassified digit")
parser.add_argument("--gamma", type=float, default=0.001, help="the kernel coefficient")
parser.add_argument("--seed", type=int, default=0, help="for the split into training and test digits")
args = parser.parse_args()

images, labels = load_digits(return_X_y=True)
train_images, test_images, train_labels, test_labels = train_test_split(
    images, labels, test_size=0.5, random_state=args.seed
)
model = SVC(C=args.C, gamma=args.gamma).fit(train_images, train_labels)
print(f"accuracy {model.score(test_images, test_labels):.3f}")
