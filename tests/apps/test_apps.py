"""Every sample application: built, minified, checked, and asked what no probe asked."""

from __future__ import annotations

import functools

import pytest

from benchmarks import samples
from benchmarks.replay import Result, replay
from benchmarks.scenario import load

pytestmark = [pytest.mark.apps, pytest.mark.docker, pytest.mark.root]


@functools.cache
def minified(name: str) -> samples.Minified:
    samples.build(name)
    return samples.minify(name)


def replayed(name: str) -> list[Result]:
    scenarios = load(samples.SAMPLES / name / "unprobed.toml")
    return replay(f"{samples.PREFIX}{name}:latest", minified(name).tag, scenarios)


@pytest.mark.parametrize("name", samples.names())
def test_is_minified_and_verified(name: str) -> None:
    built = minified(name)
    assert built.status == 0, built.text


@pytest.mark.parametrize("name", samples.names())
def test_meets_its_expectations(name: str) -> None:
    built = minified(name)
    if built.status != 0:
        pytest.skip("not minified")
    sizes = [samples.size(tag) for tag in (f"{samples.PREFIX}{name}:latest", built.tag)]
    said = samples.complaints(samples.expectation(name), *sizes, samples.paths(built.tag))
    assert not said, "\n".join(said)


@pytest.mark.parametrize("name", samples.names())
def test_answers_what_no_probe_asked(name: str) -> None:
    if minified(name).status != 0:
        pytest.skip("not minified")
    results = replayed(name)
    wrong = [str(result) for result in results if not result.same]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", samples.names())
def test_has_enough_unprobed_requests(name: str) -> None:
    scenarios = load(samples.SAMPLES / name / "unprobed.toml")
    assert sum(scenario.requests for scenario in scenarios) >= 8
