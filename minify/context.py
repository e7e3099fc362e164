"""Build images from folders with a Dockerfile, by the engine's own builder.

They are the image to minify (`--context`), and the services of a compose file that say `build:`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from minify.bench import Bench
from minify.builder import (
    Builder,
    builder,
    check_wishes,
    flags_of,
    hint_of,
    tail,
    telling,
    variables,
)
from minify.errors import EngineError, Unsupported, UsageError
from minify.options import Options, Recipe
from minify.run import follow
from minify.steps import step

TIMEOUT = 3600.0  # seconds; --time-budget is usually shorter


def recipe_of(options: Options) -> Recipe:
    """The build that options ask for; raises UsageError when there is nothing to build."""
    context = Path(options.context)
    dockerfile = Path(options.dockerfile) if options.dockerfile else context / "Dockerfile"
    made = Recipe(
        context, dockerfile, options.build_args, options.build_target, options.build_network,
        options.image, secrets=options.build_secrets, ssh=options.build_ssh,
        cache_from=options.build_cache_from, cache_to=options.build_cache_to,
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
    with step("Building", context=str(recipe.context)) as progress:
        tell = telling(progress.note)
        made = builder()
        if made is None or not made.buildkit:
            check_wishes(recipe)
        return _by_api(recipe, tell) if made is None else _by_command(bench, recipe, made, tell)


def _by_api(recipe: Recipe, tell: Callable[[str], None]) -> str:
    """With the classic builder, for machines without the docker command line."""
    from minify.engines.docker_build import build_classic

    try:
        return build_classic(
            recipe.context, recipe.dockerfile, _classic(recipe), recipe.name, tell=tell
        )
    except EngineError as error:
        hint = hint_of(recipe.dockerfile, error.message)
        raise EngineError(error.message, hint=hint or error.hint) from error


def _temporary(bench: Bench) -> tempfile.TemporaryDirectory[str]:
    """A folder that goes with the run's own, should we be killed."""
    return tempfile.TemporaryDirectory(dir=bench.run.folder)


def _classic(recipe: Recipe) -> dict[str, object]:
    said = dict(item.partition("=")[::2] for item in recipe.arguments if "=" in item)
    pairs = {**said, **variables(Recipe(Path(), Path(), recipe.arguments))}
    wanted = {
        "buildargs": pairs, "target": recipe.target, "network_mode": recipe.network,
        "cache_from": list(recipe.cache_from),
    }  # fmt: skip
    return {k: v for k, v in wanted.items() if v}


def _by_command(bench: Bench, recipe: Recipe, made: Builder, tell: Callable[[str], None]) -> str:
    with _temporary(bench) as folder:
        id_file, metadata = Path(folder, "id"), Path(folder, "metadata")
        argv = [*made.argv, "--iidfile", str(id_file)]
        env = {**variables(recipe), **made.env}
        if made.buildx:
            argv += ["--metadata-file", str(metadata)]
            # A statement on how it was built makes two builds of the same content two images. It
            # is worth something to whoever gets the image, and one without a name nobody gets.
            env |= {} if recipe.name else {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        argv += [*flags_of(recipe), str(recipe.context)]
        done = follow(argv, tell, timeout=TIMEOUT, env=env)
        if done.returncode != 0:
            said = tail(done.stderr, done.stdout)
            by_hand = f"try it by hand: docker build --file {recipe.dockerfile} {recipe.context}"
            raise EngineError(
                f"cannot build {recipe.dockerfile}: exit status {done.returncode}\n{said}",
                hint=("" if made.buildkit else hint_of(recipe.dockerfile, said)) or by_hand,
            )
        return recipe.name or _made(bench, id_file, metadata)


def _made(bench: Bench, id_file: Path, metadata: Path) -> str:
    """The ID of the image that was made.

    An engine with containerd's store calls it by its manifest; the builder's file of the ID may
    name its configuration all the same.
    """
    names = [id_file.read_text().strip()] if id_file.is_file() else []
    if metadata.is_file():
        said = json.loads(metadata.read_text() or "{}")
        names.append(str(said.get("containerimage.digest") or ""))
    names = [name for name in names if name]
    if not names:
        raise EngineError("the builder named no image", hint="is it `docker build`?")
    for name in names:
        if bench.engine.find(name) is not None:
            return name
    raise EngineError(
        f"the image that was built is not in the engine: {', '.join(names)}",
        hint="give it a name: minify build NAME --context ..., or: docker buildx use default",
    )
