"""Reads handwritten digits with a support vector machine; prints how many of the unseen ones it got right."""

from __future__ import annotations

import argparse
import json

from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--components", type=int, required=True, help="how many principal components to use")
    parser.add_argument("--penalty", type=float, required=True, help="what a misread digit costs in training")
    parser.add_argument("--kernel", choices=["poly", "rbf", "sigmoid"], required=True)
    arguments = parser.parse_args()

    images, digits = load_digits(return_X_y=True)
    thirds = StratifiedKFold(3, shuffle=True, random_state=0)
    scores = []
    for step, (seen, unseen) in enumerate(thirds.split(images, digits)):
        model = make_pipeline(
            PCA(arguments.components, random_state=0), SVC(C=arguments.penalty, kernel=arguments.kernel)
        )
        model.fit(images[seen], digits[seen])
        scores.append(model.score(images[unseen], digits[unseen]))
        # A line with a step is an intermediate value; the line without one is the result.
        print(json.dumps({"step": step, "value": scores[-1]}), flush=True)
    print(json.dumps({"value": sum(scores) / len(scores)}))


if __name__ == "__main__":
    main()
