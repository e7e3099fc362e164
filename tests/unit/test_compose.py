from __future__ import annotations

from pathlib import Path

import pytest

from minify.config.compose import with_compose
from minify.errors import UsageError
from minify.model import Mount
from minify.options import Options, Recipe

FILE = """
name: Shop
services:
  web:
    build: .
    command: serve --port ${PORT:-80}
    environment:
      DB: db
      DEBUG: true
      EMPTY:
    env_file: web.env
    volumes:
      - ./conf:/etc/web:ro
      - data:/data
      - type: bind
        source: ./more
        target: /more
    tmpfs: /run
    depends_on: [db, cache]
    extra_hosts: ["gate:10.0.0.1"]
  db:
    image: postgres:${TAG?set it}
    environment: [POSTGRES_PASSWORD=$$ecret]
    healthcheck: {test: pg_isready, interval: 1m30s, retries: 9}
  cache:
    image: redis
    depends_on: {db: {condition: service_healthy}}
"""


def read(folder: Path, text: str = FILE, service: str = "", **given: object) -> Options:
    (folder / "c.yaml").write_text(text)
    (folder / "web.env").write_text("# a comment\nexport FROM_FILE='yes'\nDB=other\n")
    (folder / ".env").write_text("TAG=15\n")
    options = Options(compose=str(folder / "c.yaml"), compose_service=service, **given)  # type: ignore[arg-type]
    return with_compose(options, {})


def test_the_service_nobody_depends_on_is_traced(tmp_path: Path) -> None:
    options = read(tmp_path)
    assert options.image == "shop-web"
    assert options.argv == ("serve", "--port", "80")
    assert dict(e.split("=") for e in options.env) == {
        "FROM_FILE": "yes", "DB": "db", "DEBUG": "true",
    }  # fmt: skip
    assert options.mounts == (
        Mount("/etc/web", str(tmp_path / "conf"), read_only=True),
        Mount("/more", str(tmp_path / "more"), read_only=False),
        Mount("/run"),
    )
    assert options.surroundings.hosts == ("gate:10.0.0.1",)
    assert options.surroundings.alias == "web"


def test_what_it_needs_comes_in_order(tmp_path: Path) -> None:
    db, cache = read(tmp_path).surroundings.companions
    assert (db.name, db.image, db.env) == ("db", "postgres:15", ("POSTGRES_PASSWORD=$ecret",))
    assert db.condition == "service_healthy"
    assert db.healthcheck is not None
    assert (db.healthcheck.test, db.healthcheck.interval) == (("CMD-SHELL", "pg_isready"), 90.0)
    assert (cache.name, cache.condition) == ("cache", "service_started")


def test_what_the_user_says_wins(tmp_path: Path) -> None:
    options = read(tmp_path, image="mine", argv=("x",), env=("DB=mine",))
    assert (options.image, options.argv) == ("mine", ("x",))
    assert "DB=mine" in options.env
    assert "DB=db" not in options.env


@pytest.mark.parametrize(
    ("text", "service", "told"),
    [
        (FILE, "nothing", "has no service nothing"),
        ("services: {a: {image: a}, b: {image: b}}", "", "2 services that could be traced: a, b"),
        ("services: {a: {depends_on: [b]}, b: {depends_on: [a]}}", "a", "a needs b needs a"),
        ("services: {a: {depends_on: [c]}}", "a", "depends on c, which is no service"),
        ("services: {a: {image: '${NONE?must be set}'}}", "a", "must be set"),
        ("services: [a]", "", "not a compose file"),
        ("a: [", "", "not a compose file"),
        ("services: {a: 1}", "", "not a compose file"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, service: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read(tmp_path, text, service)


BUILDS = """
name: shop
services:
  web:
    build: {context: ./web, dockerfile: docker/Prod, args: {A: 1, B: true, C: }, target: prod}
    depends_on: [db, worker, queue]
  worker: {build: ., image: shop-tools, depends_on: [setup]}
  setup: {build: ., image: shop-tools}
  db: {image: postgres}
  queue: {build: {context: "https://example.org/q.git", secrets: [key], pull: true}}
"""


def test_services_that_are_built_come_in_the_order_they_start(tmp_path: Path) -> None:
    tools, queue, web = read(tmp_path, BUILDS).builds
    assert tools == Recipe(tmp_path, tmp_path / "Dockerfile", name="shop-tools")
    assert web == Recipe(
        tmp_path / "web", tmp_path / "web/docker/Prod", ("A=1", "B=true", "C"), "prod", "",
        "shop-web",
    )  # fmt: skip
    assert queue.name == "shop-queue"
    assert queue.beyond == ("secrets", "a context that is no folder")


def test_a_traced_service_whose_image_is_named_is_not_built(tmp_path: Path) -> None:
    for given in ({"image": "mine"}, {"context": "."}):
        built = [one.name for one in read(tmp_path, BUILDS, **given).builds]
        assert built == ["shop-tools", "shop-queue"]
