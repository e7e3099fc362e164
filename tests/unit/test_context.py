from __future__ import annotations

import os
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from minify.bench import Bench
from minify.context import build_image, build_services, recipe_of
from minify.errors import EngineError, Unsupported, UsageError
from minify.options import Options, Recipe

RUN = SimpleNamespace(folder=None)  # where temporary files go
DOCKER = SimpleNamespace(engine=SimpleNamespace(name="docker"), run=RUN)
IMAGE = "sha256:" + "1" * 64

# A docker command: which builders it has is told by the words in the file `has`.
COMMAND = """#!/bin/bash
here=$(dirname "$0")
case "$1 $2" in
    "buildx version") grep -q buildx "$here/has"; exit ;;
    "build --help") grep -q buildkit "$here/has"; exit ;;
esac
echo "DOCKER_BUILDKIT=$DOCKER_BUILDKIT DOCKER_HOST=$DOCKER_HOST $*" >> "$here/called"
echo "FROM_ENVIRONMENT=$FROM_ENVIRONMENT OTHER=$OTHER" >> "$here/told"
while [ $# -gt 0 ]; do
    [ "$1" = --iidfile ] && [ -n "{image}" ] && echo {image} > "$2"
    shift
done
[ -z "{failure}" ] || {{ echo "{failure}" >&2; exit 3; }}
"""


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "tcp://there:1")
    return folder


def docker(folder: Path, has: str, *, image: str = IMAGE, failure: str = "") -> None:
    command = folder.parent / "docker"
    command.write_text(COMMAND.format(image=image, failure=failure))
    command.chmod(0o755)
    (folder.parent / "has").write_text(has)


def build(options: Options) -> str:
    return build_image(cast(Bench, DOCKER), options)


def called(context: Path) -> list[str]:
    return shlex.split((context.parent / "called").read_text())


@pytest.mark.parametrize(
    ("has", "buildkit", "argv"),
    [
        ("buildx", "", ["buildx", "build", "--load", "--progress", "plain"]),
        ("buildkit", "1", ["build", "--progress", "plain"]),
        ("nothing", "0", ["build"]),
    ],
)
def test_the_best_builder_that_is_there_is_used(
    context: Path, has: str, buildkit: str, argv: list[str]
) -> None:
    docker(context, has)
    assert build(Options(context=str(context))) == IMAGE
    said = called(context)
    assert said[0] == f"DOCKER_BUILDKIT={buildkit}"
    assert said[1] == "DOCKER_HOST=tcp://there:1"  # the engine that minify talks to
    assert said[2 : 2 + len(argv)] == argv
    assert said[-1] == str(context)


def test_everything_that_was_asked_for_is_handed_on(context: Path) -> None:
    docker(context, "buildx")
    (context / "other").write_text("FROM scratch\n")
    options = Options(
        image="shop:1", context=str(context), dockerfile=str(context / "other"),
        build_args=("A=1", "B=x y", "FROM_ENVIRONMENT"), build_target="prod", build_network="host",
    )  # fmt: skip
    assert build(options) == "shop:1"
    line = (context.parent / "called").read_text()
    for part in (f"--file {context / 'other'}", "--build-arg A=1 --build-arg B=x y",
                 "--target prod", "--network host", "--tag shop:1"):  # fmt: skip
        assert part in line


def test_a_failed_build_shows_its_reason(context: Path) -> None:
    docker(context, "buildx", failure="no such base")
    with pytest.raises(EngineError, match="exit status 3\nno such base"):
        build(Options(context=str(context)))


def test_a_builder_that_names_no_image_is_said(context: Path) -> None:
    docker(context, "buildx", image="")
    with pytest.raises(EngineError, match="named no image"):
        build(Options(context=str(context)))


def test_what_cannot_be_built_is_a_usage_error(context: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        recipe_of(Options(context=str(context / "nowhere")))
    with pytest.raises(UsageError, match="no such Dockerfile"):
        recipe_of(Options(context=str(context), dockerfile=str(context / "none")))


def test_the_default_dockerfile_is_the_context_s(context: Path) -> None:
    recipe = recipe_of(Options(context=str(context)))
    assert recipe.dockerfile == context / "Dockerfile"


def test_an_engine_without_builder_is_said(context: Path) -> None:
    bench = cast(Bench, SimpleNamespace(engine=SimpleNamespace(name="embedded")))
    with pytest.raises(Unsupported, match="embedded engine builds no images"):
        build_image(bench, Options(context=str(context)))


def test_an_argument_without_value_is_the_environment_s(
    context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(context, "buildx")
    monkeypatch.setenv("FROM_ENVIRONMENT", "a b")
    monkeypatch.setenv("OTHER", "not handed on")
    build(Options(context=str(context), build_args=("FROM_ENVIRONMENT", "UNSET", "C=1")))
    assert (context.parent / "told").read_text() == "FROM_ENVIRONMENT=a b OTHER=\n"


def services(*recipes: Recipe, there: object = None) -> None:
    engine = SimpleNamespace(name="docker", find=lambda _name: there)
    build_services(cast(Bench, SimpleNamespace(engine=engine, run=RUN)), recipes)


def test_services_are_built_under_their_names(context: Path) -> None:
    docker(context, "buildx")
    services(Recipe(context, context / "Dockerfile", target="prod", name="shop-web"))
    line = (context.parent / "called").read_text()
    assert f"--target prod --tag shop-web {context}" in line


def test_a_service_that_only_compose_can_build_has_to_be_there(context: Path) -> None:
    docker(context, "buildx")
    recipe = Recipe(context, context / "Dockerfile", name="shop-web", beyond=("secrets", "ssh"))
    services(recipe, there="an image")
    assert not (context.parent / "called").exists()
    with pytest.raises(UsageError, match=r"shop-web .* does not know secrets, ssh"):
        services(recipe)


def test_a_service_whose_folder_is_not_there_is_named(context: Path) -> None:
    with pytest.raises(UsageError, match="no such folder") as caught:
        services(Recipe(context / "x", context / "x" / "Dockerfile", name="shop-web"))
    assert "build: of shop-web" in caught.value.hint
