"""Build the image to minify from a folder with a Dockerfile, by the engine's own builder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from minify.bench import Bench
from minify.errors import EngineError, MinifyError, Unsupported, UsageError
from minify.options import Options
from minify.run import run
from minify.steps import step

TIMEOUT = 3600.0  # seconds; --time-budget is usually shorter


@dataclass(frozen=True)
class Recipe:
    """A build: the folder that is sent, the Dockerfile, and what `docker build` calls them."""

    context: Path
    dockerfile: Path
    arguments: tuple[str, ...] = ()
    target: str = ""
    network: str = ""


def recipe_of(options: Options) -> Recipe:
    """The build that options ask for; raises UsageError when there is nothing to build."""
    context = Path(options.context)
    dockerfile = Path(options.dockerfile) if options.dockerfile else context / "Dockerfile"
    if not context.is_dir():
        raise UsageError(f"no such folder: {context}", hint="--context names a folder")
    if not dockerfile.is_file():
        raise UsageError(f"no such Dockerfile: {dockerfile}", hint="name it with --dockerfile")
    return Recipe(
        context.resolve(), dockerfile.resolve(), options.build_args, options.build_target,
        options.build_network,
    )  # fmt: skip


def build_image(bench: Bench, options: Options) -> str:
    """Build the image of `options.context`; returns its ID, or the name it was given.

    With BuildKit where the engine's command line has it, else with the classic builder. The
    context's .dockerignore holds. Raises EngineError with the end of the build's output.
    """
    recipe = recipe_of(options)
    if bench.engine.name != "docker":
        raise Unsupported(
            f"the {bench.engine.name} engine builds no images",
            hint="build the image first and name it, or start Docker",
        )
    with step("Building", context=str(recipe.context)), tempfile.TemporaryDirectory() as folder:
        if shutil.which("docker"):
            return _by_command(recipe, options.image, Path(folder, "id"))
        from minify.engines.docker_build import build_classic

        return build_classic(recipe.context, recipe.dockerfile, _classic(recipe), options.image)


def _classic(recipe: Recipe) -> dict[str, object]:
    pairs = dict(item.partition("=")[::2] for item in recipe.arguments)
    wanted = {"buildargs": pairs, "target": recipe.target, "network_mode": recipe.network}
    return {k: v for k, v in wanted.items() if v}


def _by_command(recipe: Recipe, name: str, id_file: Path) -> str:
    argv, env = _builder()
    argv += ["--iidfile", str(id_file), "--file", str(recipe.dockerfile)]
    argv += [part for item in recipe.arguments for part in ("--build-arg", item)]
    argv += ["--target", recipe.target] if recipe.target else []
    argv += ["--network", recipe.network] if recipe.network else []
    argv += ["--tag", name] if name else []
    done = run([*argv, str(recipe.context)], timeout=TIMEOUT, env=env, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-20:])
        raise EngineError(
            f"cannot build {recipe.dockerfile}: exit status {done.returncode}\n{tail}",
            hint=f"try it by hand: docker build --file {recipe.dockerfile} {recipe.context}",
        )
    try:
        return name or id_file.read_text().strip()
    except OSError as error:
        raise EngineError("the builder named no image", hint="is it `docker build`?") from error


def _builder() -> tuple[list[str], Mapping[str, str]]:
    """The build command: buildx, else the engine's BuildKit, else the classic builder."""
    if _works(["docker", "buildx", "version"], {}):
        return ["docker", "buildx", "build", "--load", "--progress", "plain"], {}
    # Without the plug-in, command lines since 23.0 refuse BuildKit; older ones have it built in.
    if _works(["docker", "build", "--help"], {"DOCKER_BUILDKIT": "1"}):
        return ["docker", "build", "--progress", "plain"], {"DOCKER_BUILDKIT": "1"}
    return ["docker", "build"], {"DOCKER_BUILDKIT": "0"}


def _works(argv: list[str], env: Mapping[str, str]) -> bool:
    try:
        return run(argv, timeout=30, env=env, check=False).returncode == 0
    except MinifyError:
        return False
