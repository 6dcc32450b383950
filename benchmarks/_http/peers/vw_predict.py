"""Vowpal Wabbit's predict over the actions of one decision: µs of CPU, parsing included.

    python -m benchmarks._http.peers.vw_predict <DATA.json

DATA.json has `shared`, feature → number, and `actions`, each feature → number or text. Prints a
number. The policy is SquareCB, which explores as nextbest does.
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

from vowpalwabbit import Workspace

from benchmarks._http.timing import cost

_LEARNED = 500


def _features(values: dict[str, Any]) -> str:
    return " ".join(
        f"{name}={value}" if isinstance(value, str) else f"{name}:{value}"
        for name, value in values.items()
    )


def main() -> None:
    """Learns a little, then times predictions."""
    data = json.load(sys.stdin)
    shared = f"shared |c {_features(data['shared'])}"
    actions = [f"|a {_features(each)}" for each in data["actions"]]
    learner = Workspace("--cb_explore_adf --squarecb --quiet -q ca", arg_list=None)
    draw = random.Random(1)
    for _ in range(_LEARNED):
        place = draw.randrange(len(actions))
        labelled = list(actions)
        labelled[place] = f"0:{-float(draw.random() < 0.1)}:{1 / len(actions)} {labelled[place]}"
        learner.learn([shared, *labelled])
    asked = [shared, *actions]
    assert len(learner.predict(asked)) == len(actions)
    print(cost(lambda: learner.predict(asked)))


if __name__ == "__main__":
    main()
