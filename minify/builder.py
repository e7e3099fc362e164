"""The builders of a Docker engine: which there is, what only BuildKit can, what a build says."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minify.errors import MinifyError, Unsupported
from minify.options import Recipe
from minify.run import run, users_environment

INSTALL = (
    "install buildx: on Debian (from trixie on) apt-get install docker-buildx, from "
    "Docker's own packages docker-buildx-plugin"
)
# What the classic builder has not got (docs.docker.com/reference/dockerfile).
NEEDS = re.compile(
    r"""^[ \t]*(?:
        (?:RUN|COPY|ADD) (?:[ \t]+--[\w-]+(?:=\S*)?)*? [ \t]+
            --(?:mount|network|security|link|chmod|parents|exclude|checksum|keep-git-dir|unpack)\b
        | (?:RUN|COPY|ADD) [ \t]+ (?:.*[ \t])? <<-?["']?[A-Za-z_]
        | FROM [ \t]+ --platform=\S*\$
    )""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
REFUSED = re.compile(r"requires BuildKit|unknown flag:|unknown instruction:", re.IGNORECASE)
CONTINUED = re.compile(r"\\[ \t]*\n")
HANDED_ON = ("BUILDX_BUILDER", "BUILDX_CONFIG", "BUILDKIT_HOST")
VERTEX = re.compile(r"#(\d+) (\[.*|exporting to .*|(?:importing|exporting) cache .*)")
OUTCOME = re.compile(r"#(\d+) (?:CACHED|CANCELED|DONE .*|ERROR:? .*)")
CLASSIC_STEP = re.compile(r"Step \d+/\d+ : .*")
WIDEST = 160


@dataclass(frozen=True)
class Builder:
    """A command that builds, with variables for it; `buildkit` and `buildx`: what it is."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    buildkit: bool = True
    buildx: bool = False


def builder() -> Builder | None:
    """The best there is: buildx, else the engine's BuildKit, else the classic builder.

    None where there is no docker command; the engine's API has the classic builder then.
    """
    if not shutil.which("docker"):
        return None
    if _works(["docker", "buildx", "version"], {}):
        argv = ("docker", "buildx", "build", "--load", "--progress", "plain")
        return Builder(argv, buildx=True)
    # Without the plug-in, command lines since 23.0 refuse BuildKit; older ones have it built in.
    if _works(["docker", "build", "--help"], {"DOCKER_BUILDKIT": "1"}):
        return Builder(("docker", "build", "--progress", "plain"), {"DOCKER_BUILDKIT": "1"})
    return Builder(("docker", "build"), {"DOCKER_BUILDKIT": "0"}, buildkit=False)


def _works(argv: list[str], env: Mapping[str, str]) -> bool:
    try:
        return run(argv, timeout=30, env=env, check=False).returncode == 0
    except MinifyError:
        return False


def flags_of(recipe: Recipe) -> list[str]:
    """The command-line flags of a build, the same for every builder."""
    repeated = {
        "--build-arg": recipe.arguments, "--secret": recipe.secrets, "--ssh": recipe.ssh,
        "--cache-from": recipe.cache_from, "--cache-to": recipe.cache_to,
    }  # fmt: skip
    once = {"--target": recipe.target, "--network": recipe.network, "--tag": recipe.name}
    argv = ["--file", str(recipe.dockerfile)]
    argv += [part for flag, items in repeated.items() for x in items for part in (flag, x)]
    argv += [part for flag, value in once.items() if value for part in (flag, value)]
    return argv


def check_wishes(recipe: Recipe) -> None:
    """Raise Unsupported for what a recipe asks for and the classic builder has not got."""
    asked = {
        "--build-secret": recipe.secrets, "--build-ssh": recipe.ssh,
        "--build-cache-to": recipe.cache_to,
    }  # fmt: skip
    if wanted := [flag for flag, items in asked.items() if items]:
        raise Unsupported(f"{', '.join(wanted)}: only BuildKit can do that", hint=INSTALL)


def hint_of(dockerfile: Path, complaint: str) -> str:
    """What to install where the classic builder failed for it is not BuildKit; else nothing."""
    try:
        text = CONTINUED.sub(" ", dockerfile.read_text(errors="replace"))
    except OSError:
        text = ""
    if REFUSED.search(complaint) or NEEDS.search(text):
        return f"this Dockerfile needs BuildKit: {INSTALL}"
    return ""


def variables(recipe: Recipe) -> dict[str, str]:
    """The variables of the user's that a build may look at: those it names, and the builder's."""
    names = {item for item in recipe.arguments if "=" not in item} | set(HANDED_ON)
    for text in recipe.secrets:
        parts = dict(part.strip().partition("=")[::2] for part in text.split(","))
        # `id` alone names a variable or a file, `src` of the type env a variable.
        names |= {parts[key] for key in ("id", "env", "src", "source") if key in parts}
    return {k: v for k, v in users_environment().items() if k in names}


def telling(note: Callable[[str], None]) -> Callable[[str], None]:
    """A listener for a build's lines that passes on which steps there are and how each ended.

    What the steps write is left out: it is shown when one fails.
    """
    named: set[str] = set()

    def listen(line: str) -> None:
        text = line.strip()
        if found := VERTEX.fullmatch(text):
            if found[2].startswith("[internal]") or found[1] in named:
                return
            named.add(found[1])
        elif found := OUTCOME.fullmatch(text):
            if found[1] not in named:
                return
        elif not CLASSIC_STEP.fullmatch(text):
            return
        note(text[:WIDEST])

    return listen


def tail(*texts: str, lines: int = 20) -> str:
    """The end of what a build wrote: the first text that says something."""
    said: Sequence[str] = next((t.strip().splitlines() for t in texts if t.strip()), [])
    return "\n".join(said[-lines:])
