"""Play the same scenarios against two images and tell where the second answers otherwise.

Usage: python -m benchmarks.replay ORIGINAL MINIFIED UNPROBED.toml
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.container import Answer, created, docker
from benchmarks.scenario import Scenario, load


@dataclass(frozen=True)
class Result:
    """One request against both images; `differences` empty: the same answer."""

    scenario: str
    step: str
    differences: tuple[tuple[str, str, str], ...] = ()

    @property
    def same(self) -> bool:
        """Whether both answered alike."""
        return not self.differences

    def __str__(self) -> str:
        parts = [f"{field}: {a!r:.160} but {b!r:.160}" for field, a, b in self.differences]
        return f"{self.scenario} / {self.step}: " + ("same" if self.same else "; ".join(parts))


def play(image: str, scenario: Scenario) -> list[tuple[str, Answer]]:
    """Play a scenario against an image; returns the name and the masked answer of each step."""
    with created(image, scenario) as container:
        if not scenario.port:
            return [("run", _masked(container.run(scenario), scenario.mask))]
        status, _, err = docker("start", container.name)
        if status != 0:
            return [("start", {"error": err.decode(errors="replace")})]
        if not container.ready():
            return [("start", {"error": "never listened", "log": container.log()})]
        answers = [
            (step.name, _masked(container.ask(step), (*scenario.mask, *step.mask)))
            for step in scenario.steps
        ]
        return [*answers, ("stop", container.stop())]


def _masked(answer: Answer, patterns: Sequence[str]) -> Answer:
    for pattern in patterns:
        answer = {key: re.sub(pattern, "<masked>", value) for key, value in answer.items()}
    return answer


def compare(
    scenario: Scenario, first: list[tuple[str, Answer]], second: list[tuple[str, Answer]]
) -> list[Result]:
    """Put the answers of two images side by side; a step that is missing is a difference."""
    others = dict(second)
    names = [step.name for step in scenario.steps] + ["stop"] if scenario.port else ["run"]
    firsts = dict(first)
    results = []
    for name in names:
        one, two = (answers.get(name, answers.get("start", {})) for answers in (firsts, others))
        fields = sorted(one.keys() | two.keys())
        different = tuple(
            (field, one.get(field, ""), two.get(field, ""))
            for field in fields
            if one.get(field, "") != two.get(field, "")
        )
        # Two images that both fail to start agree on nothing worth counting.
        if not different and "start" in firsts:
            different = (("start", firsts["start"].get("error", ""), ""),)
        results.append(Result(scenario.name, name, different))
    return results


def replay(original: str, minified: str, scenarios: Sequence[Scenario]) -> list[Result]:
    """Play every scenario against both images at once.

    What differs is played once more, and counts when the same step differs again: a service that
    once in a hundred starts does not answer does so in either image. What passed is told.
    """
    results: list[Result] = []
    with ThreadPoolExecutor(2) as pool:
        for scenario in scenarios:
            found = _pair(pool, (original, minified), scenario)
            if not all(result.same for result in found):
                found = _confirmed(found, _pair(pool, (original, minified), scenario))
            results += found
    return results


def _pair(pool: ThreadPoolExecutor, images: tuple[str, str], scenario: Scenario) -> list[Result]:
    first, second = [pool.submit(play, image, scenario) for image in images]
    return compare(scenario, first.result(), second.result())


def _confirmed(once: Sequence[Result], again: Sequence[Result]) -> list[Result]:
    stays = []
    for one, two in zip(once, again, strict=True):
        if not one.same and two.same:
            print(f"passed when played again: {one}", file=sys.stderr)
        stays.append(two if two.same else one)
    return stays


def main(argv: Sequence[str]) -> int:
    """Play the scenarios of a file; exit status 3 where an answer differs."""
    if len(argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    results = replay(argv[0], argv[1], load(Path(argv[2])))
    for result in results:
        if not result.same:
            print(result)
    good = sum(result.same for result in results)
    print(f"{good} of {len(results)} answered the same")
    return 0 if good == len(results) else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
