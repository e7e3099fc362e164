"""Build images from folders with a Dockerfile, by the engine's own builder.

They are the image to minify (`--context`), and the services of a compose file that say `build:`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from minify.bench import Bench
from minify.errors import EngineError, MinifyError, Unsupported, UsageError
from minify.options import Options, Recipe
from minify.run import run, users_environment
from minify.steps import step

TIMEOUT = 3600.0  # seconds; --time-budget is usually shorter


def recipe_of(options: Options) -> Recipe:
    """The build that options ask for; raises UsageError when there is nothing to build."""
    context = Path(options.context)
    dockerfile = Path(options.dockerfile) if options.dockerfile else context / "Dockerfile"
    made = Recipe(
        context, dockerfile, options.build_args, options.build_target, options.build_network,
        options.image,
    )  # fmt: skip
    return _checked(made, "--context names a folder", "name it with --dockerfile")


def _checked(recipe: Recipe, about_folder: str, about_file: str) -> Recipe:
    if not recipe.context.is_dir():
        raise UsageError(f"no such folder: {recipe.context}", hint=about_folder)
    if not recipe.dockerfile.is_file():
        raise UsageError(f"no such Dockerfile: {recipe.dockerfile}", hint=about_file)
    return replace(recipe, context=recipe.context.resolve(), dockerfile=recipe.dockerfile.resolve())


def build_image(bench: Bench, options: Options) -> str:
    """Build the image of `options.context`; returns its ID, or the name it was given.

    Raises EngineError with the end of the build's output.
    """
    return _build(bench, recipe_of(options))


def build_services(bench: Bench, recipes: Sequence[Recipe]) -> None:
    """Build the images of a compose file's services, each under its service's name.

    One whose file asks for more than the engine's builder can be told has to be there already.
    """
    for recipe in recipes:
        if not recipe.beyond:
            about = f"it is the build: of {recipe.name} in the compose file"
            _build(bench, _checked(recipe, about, about))
        elif bench.engine.find(recipe.name) is None:
            raise UsageError(
                f"cannot build {recipe.name} from the compose file: "
                f"minify does not know {', '.join(recipe.beyond)}",
                hint="build it first: docker compose build",
            )


def _build(bench: Bench, recipe: Recipe) -> str:
    """With BuildKit where the engine's command line has it, else with the classic builder.

    The context's .dockerignore holds.
    """
    if bench.engine.name != "docker":
        raise Unsupported(
            f"the {bench.engine.name} engine builds no images",
            hint="build the image first and name it, or start Docker",
        )
    with step("Building", context=str(recipe.context)), _temporary(bench) as folder:
        if shutil.which("docker"):
            return _by_command(recipe, Path(folder, "id"))
        from minify.engines.docker_build import build_classic

        return build_classic(recipe.context, recipe.dockerfile, _classic(recipe), recipe.name)


def _temporary(bench: Bench) -> tempfile.TemporaryDirectory[str]:
    """A folder that goes with the run's own, should we be killed."""
    return tempfile.TemporaryDirectory(dir=bench.run.folder)


def _values(recipe: Recipe) -> dict[str, str]:
    """The build arguments that are named without a value and that the environment has."""
    names = {item for item in recipe.arguments if "=" not in item}
    return {k: v for k, v in users_environment().items() if k in names}


def _classic(recipe: Recipe) -> dict[str, object]:
    said = dict(item.partition("=")[::2] for item in recipe.arguments if "=" in item)
    pairs = {**said, **_values(recipe)}
    wanted = {"buildargs": pairs, "target": recipe.target, "network_mode": recipe.network}
    return {k: v for k, v in wanted.items() if v}


def _by_command(recipe: Recipe, id_file: Path) -> str:
    argv, env = _builder()
    name = recipe.name
    argv += ["--iidfile", str(id_file), "--file", str(recipe.dockerfile)]
    argv += [part for item in recipe.arguments for part in ("--build-arg", item)]
    argv += ["--target", recipe.target] if recipe.target else []
    argv += ["--network", recipe.network] if recipe.network else []
    argv += ["--tag", name] if name else []
    done = run(
        [*argv, str(recipe.context)], timeout=TIMEOUT, env={**_values(recipe), **env}, check=False
    )
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
