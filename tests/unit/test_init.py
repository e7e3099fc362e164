"""Recipes are valid, are found by command, and what init writes is a configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from minify.config.read import options_from, read_config, read_options
from minify.errors import UsageError
from minify.init import Look, render
from minify.model import Behaviour, Image, ImageConfig, Observation, Platform
from minify.options import Options
from minify.recipes import all_recipes, recipe_for
from minify.yamltext import parse_yaml

SERVICES = {
    "nginx": ["nginx", "-g", "daemon off;"],
    "httpd": ["/usr/sbin/apache2ctl", "-D", "FOREGROUND"],
    "redis": ["docker-entrypoint.sh", "redis-server", "/etc/redis.conf"],
    "memcached": ["docker-entrypoint.sh", "memcached"],
    "postgresql": ["docker-entrypoint.sh", "postgres"],
    "mariadb": ["docker-entrypoint.sh", "mariadbd"],
    "rabbitmq": ["docker-entrypoint.sh", "rabbitmq-server"],
    "gunicorn": ["/usr/bin/tini", "--", "python", "-m", "gunicorn", "app:app"],
    "uvicorn": ["/bin/sh", "-c", "exec uvicorn app:app --port $PORT"],
    "express": ["docker-entrypoint.sh", "node", "server.js"],
    "spring": ["java", "-jar", "/app.jar"],
    "php-fpm": ["docker-php-entrypoint", "php-fpm"],
    "puma": ["./bin/rails", "server"],
}


def test_there_is_a_recipe_for_each_and_it_is_found() -> None:
    assert {r.id for r in all_recipes()} == set(SERVICES)
    for name, command in SERVICES.items():
        found = recipe_for(command)
        assert found is not None
        assert found.id == name


def test_a_particular_program_wins_over_its_runtime() -> None:
    found = recipe_for(["node", "/usr/bin/memcached"])
    assert found is not None
    assert found.id == "memcached"
    assert recipe_for(["/app/server"]) is None


@pytest.mark.parametrize("recipe", all_recipes(), ids=lambda r: r.id)
def test_every_recipe_is_a_valid_configuration(tmp_path: Path, recipe: object) -> None:
    text = recipe.text  # type: ignore[attr-defined]
    path = tmp_path / "minify.yaml"
    path.write_text(text)
    options = read_options(path)
    assert options.drives
    # What is commented out is valid too: a user only has to take the # away.
    lines = [line.removeprefix("# ") if is_setting(line) else line for line in text.splitlines()]
    path.write_text("\n".join(lines))
    read_config(path)


def is_setting(line: str) -> bool:
    rest = line.removeprefix("# ")
    return line.startswith("# ") and (
        rest.startswith(("  ", "sql_probes:", "openapi:", "compose:", "run_probes:"))
    )


def looked(**changes: object) -> Look:
    config = ImageConfig(cmd=("/app",), ports=("80/tcp",), volumes=("/data",))
    image = Image("reg/app:1", "sha256:1", Platform("linux", "amd64"), config)
    return replace(Look(image, ("/app",), None, None), **changes)  # type: ignore[arg-type]


WEB = Behaviour(
    observations=(
        Observation("GET / :80", 80, True, 200, protocol="http"),
        Observation("GET / :25", 25, True, 0, protocol="tcp"),
    ),
    ready=True,
    ports=(25, 80),
)


@pytest.mark.parametrize(
    ("seen", "keys"),
    [
        (looked(), {"image", "http_probes"}),
        (looked(behaviour=WEB), {"image", "http_probes", "tcp_probes"}),
        (looked(behaviour=Behaviour(exited_alone=True)), {"image", "runs"}),
        (looked(trouble="went wrong\nbadly"), {"image", "http_probes"}),
        (looked(recipe=recipe_for(["nginx"])), {"image", "http_probes", "crawl", "signal_probes"}),
        (
            looked(options=Options(argv=("a", "b: c"), user="7"), behaviour=WEB),
            {"image", "command", "user", "http_probes", "tcp_probes"},
        ),
    ],
)
def test_what_is_written_is_a_configuration(tmp_path: Path, seen: Look, keys: set[str]) -> None:
    path = tmp_path / "minify.yaml"
    path.write_text(render(seen))
    data = read_config(path)
    assert set(data) == keys
    assert data["image"] == "reg/app:1"
    assert options_from(data, tmp_path).image == "reg/app:1"


def test_probes_are_for_what_the_ports_spoke() -> None:
    data = parse_yaml(render(looked(behaviour=WEB)), "x")
    assert (data["http_probes"], data["tcp_probes"]) == (["GET :80/"], [25])


def test_a_port_that_answered_in_http2_may_speak_grpc() -> None:
    settings = bytes([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 5, 0, 0, 64, 0])
    answer = Observation("GET /", 50051, ok=True, body=settings, protocol="tcp")
    text = render(looked(behaviour=Behaviour(ports=(50051,), observations=(answer,))))
    assert "# grpc_probes: [50051]" in text.splitlines()
    assert "grpc" not in render(looked(behaviour=WEB))


def test_the_file_that_is_written_over_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of another image, perhaps: its probes would fail here."""
    from minify.cli import init as command

    given: list[Options] = []

    def stop(options: Options) -> None:
        given.append(options)
        raise UsageError("seen")

    monkeypatch.setattr(command, "bench_for", stop)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "minify.yaml").write_text("image: other\nhttp_probes: [GET /other]\n")
    for flags in (["--force"], ["--force", "--config", "minify.yaml"]):
        CliRunner().invoke(command.init_command, ["app", *flags])
    assert [one.image for one in given] == ["app", "app"]
    assert [len(one.drives) for one in given] == [0, 1]
