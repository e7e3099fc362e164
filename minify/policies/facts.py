"""What policy rows may ask about a run: variables in globs, and the conditions of `when`."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Protocol

from minify.errors import MinifyError
from minify.globs import compile_globs, expand
from minify.model import ImageConfig, KeepLevel
from minify.tree import Tree, normalise

_VARIABLE = re.compile(r"\$\{([A-Za-z_]+)\}")
LOCALE_VARIABLES = ("LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LC_TIME", "LC_NUMERIC", "LC_MONETARY",
                    "LC_COLLATE", "LANG", "LANGUAGE")  # fmt: skip
CONDITIONS = ("kept", "touched", "listed", "exists", "env")


class View(Protocol):
    """What a row may look at (a resolver's Scene has all of it)."""

    @property
    def tree(self) -> Tree:
        """The image."""

    @property
    def config(self) -> ImageConfig:
        """How it runs."""

    @property
    def env(self) -> dict[str, str]:
        """The effective environment."""

    @property
    def touched(self) -> frozenset[str]:
        """Real paths of files opened or executed."""

    @property
    def listed(self) -> frozenset[str]:
        """Real directories that were listed."""

    @property
    def level(self) -> KeepLevel:
        """The keep level."""


def variables(view: View) -> dict[str, tuple[str, ...]]:
    """Give each variable's values: `home`, `workdir`, `volume`, `locale`, and the environment.

    A glob with a variable stands for one glob per value; none where there is no value.
    """
    values: dict[str, tuple[str, ...]] = {
        name: (value,) for name, value in view.env.items() if value and "\0" not in value
    }
    values["home"] = (home_of(view),)
    values["workdir"] = (normalise(view.config.workdir or "/"),)
    values["volume"] = tuple(normalise(v) for v in view.config.volumes)
    values["locale"] = tuple(dict.fromkeys(_locales(view.env)))
    return values


def home_of(view: View) -> str:
    """Find the home directory of the image's user: HOME, else /etc/passwd (passwd(5)), else /."""
    if view.env.get("HOME", "").startswith("/"):
        return normalise(view.env["HOME"])
    user = view.config.user.partition(":")[0] or "0"
    try:
        text = view.tree.read("/etc/passwd", 1 << 20).decode("utf-8", "surrogateescape")
    except MinifyError:
        text = ""
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and user in (fields[0], fields[2]) and fields[5].startswith("/"):
            return normalise(fields[5])
    return "/root" if user in ("0", "root") else "/"


def _locales(env: Mapping[str, str]) -> Iterator[str]:
    """Spell the locales in use as glibc looks them up (locale(7)), most specific first."""
    for name in LOCALE_VARIABLES:
        for value in env.get(name, "").split(":"):
            if not value or "/" in value or value in ("C", "POSIX"):
                continue
            base, _, modifier = value.partition("@")
            language, _, codeset = base.partition(".")
            tail = f"@{modifier}" if modifier else ""
            if codeset:
                yield f"{language}.{codeset}{tail}"
                yield f"{language}.{re.sub('[^a-z0-9]', '', codeset.lower())}{tail}"
            yield f"{language}{tail}"
            yield language
            yield language.partition("_")[0]


def substitute(pattern: str, values: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Replace the variables of a glob by every combination of their values."""
    names = list(dict.fromkeys(_VARIABLE.findall(pattern)))
    for chosen in product(*(values.get(n, ()) for n in names)):
        # A value is a path, not a glob: its own brackets and stars are meant literally.
        told = {n: glob.escape(v.lstrip(":")) for n, v in zip(names, chosen, strict=True)}
        text = _VARIABLE.sub(lambda m, told=told: told[m.group(1)], pattern)  # type: ignore[misc]
        yield normalise(text) if names and text.startswith("/") else text


def holds(name: str, wanted: tuple[str, ...], view: View, kept: Mapping[str, object]) -> bool:
    """Whether one condition is met: any of the wanted globs (for `env`: NAME or NAME=glob)."""
    if name == "env":
        return any(_env_holds(item, view.env) for item in wanted)
    if name == "exists":
        return any(next(expand(view.tree, g), None) is not None for g in wanted)
    paths = {"kept": kept, "touched": view.touched, "listed": view.listed}[name]
    return compile_globs(wanted).any_of(paths) is not None


def _env_holds(item: str, env: Mapping[str, str]) -> bool:
    name, _, pattern = item.partition("=")
    value = env.get(name, "")
    return bool(value) and (not pattern or bool(compile_globs([pattern]).match(value)))
