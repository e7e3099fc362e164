"""The command that shows what is set, and by what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from minify.cli import console
from minify.cli.build import build_command
from minify.cli.options import gather
from minify.cli.probe_options import PROBE_KEYS, probes_given
from minify.config.layers import Layer, Setting, effective
from minify.config.read import environment_layer, file_layer, find_config, schema, strange_variables
from minify.errors import Exit

# Where a flag's name is not the key's.
KEY_OF = {
    **PROBE_KEYS,
    "mount": "mounts",
    "default_drives": "default_probes",
    "lock": "from_lock",
    "outputs": "output",
}
# Flags that are no settings: which file to read, what to show, where to write.
NO_SETTINGS = {"config_file", "quiet", "dry_run", "report", "reports", "report_format",
               "provenance", "cache_dir", "help"}  # fmt: skip


def keyed_flags(command: click.Command) -> dict[str, click.Option]:
    """The flags of a command that are settings, by configuration key."""
    found = [p for p in command.params if isinstance(p, click.Option)]
    return {KEY_OF.get(o.name or "", o.name or ""): o for o in found if o.name not in NO_SETTINGS}


@click.command("config")
@click.argument("file", type=click.Path(exists=True, dir_okay=False), required=False)
@click.option("--schema", "show_schema", is_flag=True, help="Print the JSON Schema of minify.yaml.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--set", "only_set", is_flag=True, help="Leave out what has its default value.")
def config_command(
    file: str | None, show_schema: bool, as_json: bool, only_set: bool, **flags: Any
) -> int:
    """Check FILE (default ./minify.yaml) and show every setting in force and where it comes from.

    A flag of minify build wins over the environment (MINIFY_…), that over the file, that over the
    default.

    \b
    Examples:
      minify config --set
      minify config --schema > minify.schema.json
    """
    if show_schema:
        click.echo(json.dumps(schema(), indent=2))
        return Exit.OK
    path = find_config(file or flags.get("config_file"))
    gather("-", (), {**flags, "config_file": str(path) if path else None})  # every check there is
    layers = [file_layer(path)] if path else []
    layers += [environment_layer(), _flag_layer(flags)]
    settings = effective(schema()["properties"], layers)
    shown = [s for s in settings if not (only_set and s.origin == "default")]
    click.echo(_as_json(shown) if as_json else _as_text(shown))
    for name in strange_variables():
        console.say(f"warning: no setting: {name}")
    return Exit.OK


config_command.params += list(keyed_flags(build_command).values())
config_command.params += [p for p in build_command.params if p.name == "config_file"]


def _flag_layer(flags: dict[str, Any]) -> Layer:
    context = click.get_current_context()
    options = keyed_flags(config_command)
    given = {
        key: option
        for key, option in options.items()
        if context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    }
    data = {k: _plain(flags[o.name or ""]) for k, o in given.items() if k in schema()["properties"]}
    data.update((k, v) for k, v in probes_given(flags).items() if k in data)
    return Layer(data, {k: _spelled(given[k], data[k]) for k in data})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _spelled(option: click.Option, value: Any) -> str:
    return (option.secondary_opts or option.opts)[0] if value is False else option.opts[0]


def _as_json(settings: list[Setting]) -> str:
    return json.dumps({s.key: {"value": s.value, "origin": s.origin} for s in settings}, indent=1)


def _as_text(settings: list[Setting]) -> str:
    if not settings:
        return "nothing is set"
    width = max(len(s.key) for s in settings)
    rows = []
    for one in settings:
        value = "-" if one.value is None else json.dumps(one.value, ensure_ascii=False)
        origin = str(Path(one.origin)) if one.origin else ""
        rows.append(f"{one.key:{width}}  {origin:24}  {value}")
    return "\n".join(rows)
