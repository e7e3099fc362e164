from __future__ import annotations

import os
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from minify.bench import Bench
from minify.config.buildkit import BUILDKIT, buildkit_spec
from minify.config.read import options_from
from minify.context import build_image, build_services, recipe_of
from minify.errors import EngineError, Unsupported, UsageError
from minify.options import Options, Recipe
from minify.steps import listening

RUN = SimpleNamespace(folder=None)  # where temporary files go
IMAGE = "sha256:" + "1" * 64
MANIFEST = "sha256:" + "2" * 64


def bench(*known: str) -> Bench:
    """An engine that knows these images."""
    engine = SimpleNamespace(name="docker", find=lambda name: name if name in known else None)
    return cast(Bench, SimpleNamespace(engine=engine, run=RUN))


DOCKER = bench(IMAGE)

# A docker command: which builders it has is told by the words in the file `has`.
COMMAND = """#!/bin/bash
here=$(dirname "$0")
case "$1 $2" in
    "buildx version") grep -q buildx "$here/has"; exit ;;
    "build --help") grep -q buildkit "$here/has"; exit ;;
esac
echo "DOCKER_BUILDKIT=$DOCKER_BUILDKIT DOCKER_HOST=$DOCKER_HOST $*" >> "$here/called"
echo "FROM_ENVIRONMENT=$FROM_ENVIRONMENT OTHER=$OTHER" >> "$here/told"
echo "NO_ATTESTATIONS=$BUILDX_NO_DEFAULT_ATTESTATIONS" >> "$here/attested"
{says}
while [ $# -gt 0 ]; do
    [ "$1" = --iidfile ] && [ -n "{image}" ] && echo {image} > "$2"
    [ "$1" = --metadata-file ] && echo '{metadata}' > "$2"
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


def docker(
    folder: Path,
    has: str,
    *,
    image: str = IMAGE,
    failure: str = "",
    metadata: str = "{}",
    says: str = "",
) -> None:
    command = folder.parent / "docker"
    command.write_text(COMMAND.format(image=image, failure=failure, metadata=metadata, says=says))
    command.chmod(0o755)
    (folder.parent / "has").write_text(has)


def build(options: Options) -> str:
    return build_image(DOCKER, options)


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
    other = cast(Bench, SimpleNamespace(engine=SimpleNamespace(name="embedded")))
    with pytest.raises(Unsupported, match="embedded engine builds no images"):
        build_image(other, Options(context=str(context)))


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


# ---------------------------------------------------------------- BuildKit


def test_wishes_that_only_buildkit_grants_are_handed_on(
    context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(context, "buildx")
    monkeypatch.setenv("FROM_ENVIRONMENT", "token")
    monkeypatch.setenv("OTHER", "not handed on")
    build(Options(
        context=str(context), build_secrets=("id=a,src=/s", "id=b,env=FROM_ENVIRONMENT"),
        build_ssh=("default",), build_cache_from=("type=local,src=/c",),
        build_cache_to=("type=inline",),
    ))  # fmt: skip
    line = (context.parent / "called").read_text()
    for part in ("--secret id=a,src=/s --secret id=b,env=FROM_ENVIRONMENT", "--ssh default",
                 "--cache-from type=local,src=/c", "--cache-to type=inline"):  # fmt: skip
        assert part in line
    assert (context.parent / "told").read_text() == "FROM_ENVIRONMENT=token OTHER=\n"


@pytest.mark.parametrize(
    ("wish", "flag"),
    [
        ({"build_secrets": ("id=a",)}, "--build-secret"),
        ({"build_ssh": ("default",)}, "--build-ssh"),
        ({"build_cache_to": ("type=inline",)}, "--build-cache-to"),
    ],
)
@pytest.mark.parametrize("command", [True, False])
def test_the_classic_builder_cannot_grant_them(
    context: Path,
    monkeypatch: pytest.MonkeyPatch,
    wish: dict[str, tuple[str, ...]],
    flag: str,
    command: bool,
) -> None:
    if command:
        docker(context, "nothing")
    else:
        monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unsupported, match=flag) as caught:
        build(Options(context=str(context), **wish))  # type: ignore[arg-type]
    assert "docker-buildx" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "failure", "hinted"),
    [
        ("RUN --mount=type=cache,target=/c true", "the --mount option requires BuildKit.", True),
        (
            "RUN <<EOF\necho x\nEOF",
            "dockerfile parse error line 3: unknown instruction: ECHO",
            True,
        ),
        ("COPY <<-'EOF' /x\nRUN x\nEOF", "COPY failed", True),
        ("RUN --network=none \\\n  --mount=type=tmpfs,target=/t true", "x", True),
        ("RUN cat >/x <<EOF && true\nx\nEOF", "x", True),
        ("COPY --from=a --link /x /x", "Unknown flag: link", True),
        ("ADD --checksum=sha256:0 http://x /x", "x", True),
        ("FROM --platform=$BUILDPLATFORM a", "failed to parse platform", True),
        ("RUN false", "The command '/bin/sh -c false' returned a non-zero code: 1", False),
        ("RUN tool --mount x --link", "returned a non-zero code: 1", False),
        ("RUN bash -c 'cat <<<x'; echo $((1 << 3))", "returned a non-zero code: 1", False),
        ("COPY --from=a --chown=1 /x /y", "COPY failed: no such file", False),
    ],
)
def test_a_dockerfile_that_takes_buildkit_says_what_to_install(
    context: Path, text: str, failure: str, hinted: bool
) -> None:
    (context / "Dockerfile").write_text(f"FROM scratch\n{text}\n")
    docker(context, "nothing", failure=failure)
    with pytest.raises(EngineError) as caught:
        build(Options(context=str(context)))
    assert ("apt-get install docker-buildx" in caught.value.hint) is hinted
    assert ("try it by hand" in caught.value.hint) is not hinted
    docker(context, "buildx", failure=failure)
    with pytest.raises(EngineError) as caught:
        build(Options(context=str(context)))
    assert "try it by hand" in caught.value.hint


PROGRESS = """
cat >&2 <<'END'
#0 building with "default" instance using docker driver
#1 [internal] load build definition from Dockerfile
#1 DONE 0.0s
#5 [base 1/2] FROM debian
#5 DONE 0.0s
#6 [base 2/2] RUN make
#6 0.21 compiling [much]
#7 [other 1/1] COPY a b
#7 CACHED
#6 [base 2/2] RUN make
#6 0.30 more
#6 DONE 1.5s
#8 exporting to image
#8 exporting layers done
#8 DONE 0.1s
END
echo "Step 1/2 : FROM debian"
"""


def test_the_steps_of_a_build_are_told_as_they_come(context: Path) -> None:
    docker(context, "buildx", says=PROGRESS)
    told: list[str] = []
    with listening(lambda e: told.append(e.details["text"]) if e.kind == "note" else None):
        build(Options(context=str(context)))
    assert [line for line in told if line.startswith("#")] == [
        "#5 [base 1/2] FROM debian", "#5 DONE 0.0s", "#6 [base 2/2] RUN make",
        "#7 [other 1/1] COPY a b", "#7 CACHED", "#6 DONE 1.5s",
        "#8 exporting to image", "#8 DONE 0.1s",
    ]  # fmt: skip
    assert "Step 1/2 : FROM debian" in told


def test_an_image_that_the_engine_calls_by_its_manifest(context: Path) -> None:
    """As with containerd's store, where the builder's file names the configuration."""
    docker(context, "buildx", metadata=f'{{"containerimage.digest": "{MANIFEST}"}}')
    assert build_image(bench(MANIFEST), Options(context=str(context))) == MANIFEST
    assert build_image(bench(MANIFEST, IMAGE), Options(context=str(context))) == IMAGE
    with pytest.raises(EngineError, match=f"not in the engine: {IMAGE}, {MANIFEST}"):
        build_image(bench(), Options(context=str(context)))


def test_an_image_without_a_name_is_made_without_statements(context: Path) -> None:
    docker(context, "buildx")
    build(Options(context=str(context)))
    build(Options(context=str(context), image="shop:1"))
    attested = (context.parent / "attested").read_text()
    assert attested == "NO_ATTESTATIONS=1\nNO_ATTESTATIONS=\n"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("id=token,src=keys/t", "id=token,src=/b/keys/t"),
        ("id=token,source=/keys/t", "id=token,source=/keys/t"),
        ("id=token,env=TOKEN", "id=token,env=TOKEN"),
        ("type=env,id=token,src=TOKEN", "type=env,id=token,src=TOKEN"),
        ("type=local,dest=cache,mode=max", "type=local,dest=/b/cache,mode=max"),
        ("type=registry,ref=host/app:1", "type=registry,ref=host/app:1"),
        ("host:5000/app:1", "host:5000/app:1"),
        ("default", "default"),
        ("me=keys/a,keys/b", "me=/b/keys/a,/b/keys/b"),
        ('id=x,"src=a,b"', 'id=x,"src=a,b"'),
    ],
)
def test_paths_in_a_file_of_settings_start_at_its_folder(said: str, found: str) -> None:
    assert buildkit_spec(said, Path("/b")) == found
    for key in BUILDKIT:
        options = options_from({key: [said]}, Path("/b"))
        assert getattr(options, key) == (found,)
