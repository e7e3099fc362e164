"""Look at an image, try it shortly, and write a commented minify.yaml to begin with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from minify.bench import Bench
from minify.config.read import options_from
from minify.engines import Loaded
from minify.errors import MinifyError
from minify.model import Behaviour, Image, Plan, Watch
from minify.options import Options
from minify.plan import machine_memory, make_plan
from minify.recipes import Recipe, recipe_for
from minify.runs.cases import run_trial
from minify.runs.trial import Stage
from minify.steps import step
from minify.yamltext import parse_yaml

SHORT = 30.0  # seconds a trial run may take to be ready


@dataclass(frozen=True)
class Look:
    """What was found out about an image: a recipe, and what a trial run showed or why it failed."""

    image: Image
    command: tuple[str, ...]
    recipe: Recipe | None
    behaviour: Behaviour | None
    trouble: str = ""
    options: Options = field(default_factory=Options)


def look(bench: Bench, options: Options, *, run: bool = True) -> Look:
    """Load an image and run it once, unwatched; a run that fails is a finding."""
    loaded = bench.engine.load(options.image, options.platform)
    argv = Plan(loaded.image.digest, argv=options.argv, entrypoint=options.entrypoint)
    command = argv.command(loaded.image.config)
    recipe = recipe_for(command)
    seen = Look(loaded.image, command, recipe, None, options=options)
    if not run:
        return seen
    with step("Trying", image=options.image):
        try:
            behaviour = _tried(bench, loaded, _prepared(options, recipe))
        except MinifyError as error:
            return replace(seen, trouble=error.message)
    return replace(seen, behaviour=behaviour)


def _prepared(options: Options, recipe: Recipe | None) -> Options:
    """What the recipe sets, as far as it makes the service start."""
    if recipe is None:
        return options
    data = parse_yaml(recipe.text, recipe.id)
    made = options_from({k: v for k, v in data.items() if k in ("env", "ready_log")}, Path.cwd())
    return replace(options, env=(*made.env, *options.env), ready_log=made.ready_log)


def _tried(bench: Bench, loaded: Loaded, options: Options) -> Behaviour:
    made = make_plan(loaded, options, memory=machine_memory() if bench.engine.local else 0)
    limits = replace(options.limits, ready=min(options.limits.ready, SHORT))
    plan = replace(made, watch=Watch.NONE, limits=limits)
    stage = Stage(bench.engine, None, bench.run.folder)
    return run_trial(stage, loaded.image, plan, "init").behaviour


def render(seen: Look) -> str:
    """Write the file; every fact is a comment, every setting is one that minify config accepts."""
    lines = [
        "# How minify runs and probes this service. Every setting: minify config --schema",
        "# In force, and why: minify config. Then: minify build",
        f"image: {_quoted(seen.image.reference)}",
        *_given(seen.options),
        "",
        *(f"# {line}" for line in _facts(seen)),
        "",
    ]
    if seen.recipe:
        lines += [f"# From the recipe for {seen.recipe.title}; keep what fits.", seen.recipe.text]
    else:
        lines += _generic(seen)
    lines += [*_hints(seen)]
    return "\n".join(lines).rstrip() + "\n"


def _quoted(text: str) -> str:
    plain = all(c.isalnum() or c in "-_./:@" for c in text) and not text.endswith(":")
    return text if plain else json.dumps(text)


def _given(options: Options) -> Iterator[str]:
    """What the user said when the file was written."""
    for key, value in (("command", options.argv), ("entrypoint", options.entrypoint)):
        if value:
            yield f"{key}: {json.dumps(list(value))}"
    for key, text in (("user", options.user), ("workdir", options.workdir)):
        if text:
            yield f"{key}: {json.dumps(text)}"


def _facts(seen: Look) -> Iterator[str]:
    config = seen.image.config
    yield f"command: {shlex.join(seen.command) or '(none)'}"
    yield f"user: {config.user or 'root'}; exposed: {_list(config.tcp_ports)}"
    if config.volumes:
        yield f"volumes (not part of the image): {' '.join(sorted(config.volumes))}"
    if config.healthcheck:
        yield "the image's own health check is run as a probe too"
    if seen.trouble:
        yield "a trial run failed; it may need env, mounts or a command:"
        yield from (f"  {line}" for line in seen.trouble.splitlines()[:8])
    elif seen.behaviour:
        yield from _shown(seen.behaviour)


def _list(ports: tuple[int, ...]) -> str:
    return " ".join(str(p) for p in ports) or "nothing"


def _shown(behaviour: Behaviour) -> Iterator[str]:
    if behaviour.exited_alone:
        yield f"a trial run ended by itself with exit status {behaviour.exit_code}"
        return
    seconds = behaviour.seconds_ready
    yield f"a trial run was ready after {seconds:.1f} s, listening on {_list(behaviour.ports)}"
    for answer in behaviour.observations:
        told = f"{answer.protocol or 'nothing'} {answer.status or answer.error}".rstrip()
        yield f"  {answer.drive} (port {answer.port}): {told}"


def _generic(seen: Look) -> list[str]:
    """Probes for a service no recipe knows, from what the trial run showed."""
    behaviour = seen.behaviour
    if behaviour is not None and behaviour.exited_alone:
        return _program()
    http, other = _ports(behaviour)
    lines = []
    if http or not other:
        where = [f"GET :{port}/" for port in http] or ["GET /"]
        lines += ["# Name the routes that load something on their first request.", "http_probes:"]
        lines += [f"  - {text}" for text in where]
        lines += ["# Or visit what is linked from the first page:", "# crawl: /"]
    if other:
        lines += ["# These ports do not speak HTTP; send what a client would send first.",
                  "tcp_probes:"]  # fmt: skip
        lines += [f"  - {port}" for port in other]
    if calls := _http2_ports(behaviour):
        lines += ["# It answered HTTP/1 in HTTP/2, as gRPC services do. With server reflection",
                  "# (and pip install 'minify[grpc]') every method that it names is called:",
                  f"# grpc_probes: {json.dumps(calls)}"]  # fmt: skip
    return [*lines, ""]


def _program() -> list[str]:
    return [
        "# A program that ends: each argument set is a run of its own, all of them are kept.",
        "runs:",
        "  - {}  # as the image runs it",
        "#  - {args: [--help]}",
        '#  - {args: [convert, "-"], stdin: "some text", exit: 0, expect: "a pattern"}',
        "",
    ]


def _ports(behaviour: Behaviour | None) -> tuple[list[int], list[int]]:
    """The ports that spoke HTTP, and the others that listened."""
    if behaviour is None:
        return [], []
    http = {o.port for o in behaviour.observations if o.protocol in ("http", "https")}
    return sorted(http), sorted(set(behaviour.ports) - http)


def _http2_ports(behaviour: Behaviour | None) -> list[int]:
    """The ports whose answer began with a SETTINGS frame of stream 0 (RFC 9113, 3.4 and 4.1)."""
    answers = behaviour.observations if behaviour else ()
    found = {a.port for a in answers if a.body[3:4] == b"\x04" and a.body[5:9] == bytes(4)}
    return sorted(found)


def _hints(seen: Look) -> Iterator[str]:
    yield "# Your own tests, with MINIFY_URL, MINIFY_HOST and MINIFY_PORT_<N> set:"
    yield '# run_probes: ["pytest tests/e2e"]'
    yield "# Paths to keep whatever happens, and kinds of content the output may not have:"
    yield '# keep: ["/opt/app/plugins/**"]'
    yield "# forbid: [shell, package-manager]"
