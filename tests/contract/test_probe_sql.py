"""The SQL drive against real servers: MariaDB and PostgreSQL, as Debian has them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from minify.codec import to_plain
from minify.model import SqlDrive
from tests.engine_kit import BASE, docker, image, minify, needs_docker

pytestmark = [needs_docker, pytest.mark.docker, pytest.mark.root]
PROBE = Path(__file__).parents[2] / "probes" / "drive_sql.py"

# The tables of a MariaDB server, and who may log in, are made while the image is built.
MARIADB_SETUP = """
FLUSH PRIVILEGES;
CREATE DATABASE shop CHARACTER SET utf8mb4;
CREATE USER 'clerk'@'%' IDENTIFIED BY 'p@ss word';
GRANT ALL ON shop.* TO 'clerk'@'%';
"""
MARIADB = f"""FROM {BASE}
RUN apt-get update && apt-get install -y --no-install-recommends mariadb-server \
 && rm -rf /var/lib/apt/lists/*
COPY setup.sql /setup.sql
RUN install -d -o mysql -g mysql /run/mysqld \
 && mariadbd --user=mysql --bootstrap < /setup.sql 2>/bootstrap.log || (cat /bootstrap.log; exit 1)
EXPOSE 3306
USER mysql
CMD ["mariadbd", "--bind-address=0.0.0.0"]
"""
POSTGRESQL = f"""FROM {BASE}
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-15 \
 && rm -rf /var/lib/apt/lists/*
USER postgres
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
RUN echo 'p@ss word' > /tmp/word \
 && initdb --username clerk --pwfile /tmp/word --auth-host scram-sha-256 --encoding UTF8 \
      --locale C.UTF-8 \
 && echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
EXPOSE 5432
STOPSIGNAL SIGINT
CMD ["postgres", "-c", "listen_addresses=*"]
"""
STATEMENTS = (
    "CREATE TABLE words (id int PRIMARY KEY, word varchar(20), price decimal(6, 2))",
    "INSERT INTO words VALUES (1, 'čau', 1.50), (2, NULL, 0)",
    "SELECT * FROM words ORDER BY id",
    "SELECT 1 FROM nowhere",
    "SELECT count(*) AS n FROM words",
)


@contextmanager
def server(name: str) -> Iterator[str]:
    """Run an image; yields its address."""
    container = docker("run", "--detach", "--rm", name)
    try:
        yield docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", container)
    finally:
        docker("rm", "--force", "--volumes", container, check=False)


@pytest.fixture(scope="module")
def mariadb() -> Iterator[str]:
    pytest.importorskip("pymysql")
    with image("minify-contract-mariadb", MARIADB, **{"setup.sql": MARIADB_SETUP}) as name:
        yield name


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    pytest.importorskip("psycopg")
    with image("minify-contract-postgresql", POSTGRESQL) as name:
        yield name


def ask(host: str, drive: SqlDrive, port: int) -> dict[str, Any]:
    sent = {**to_plain(drive), "host": host, "port": port}
    done = subprocess.run(
        [sys.executable, "-I", str(PROBE)], text=True, capture_output=True, timeout=90,
        input=json.dumps({"drives": [sent]}) + "\n",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (answer,) = map(json.loads, done.stdout.splitlines())
    return dict(answer)


def lines(answer: dict[str, Any]) -> list[str]:
    return base64.b64decode(answer["body"]).decode().splitlines()


def drive(dialect: str, *statements: str, password: str = "p@ss word") -> SqlDrive:
    database = "shop" if dialect == "mysql" else "postgres"
    return SqlDrive("s", dialect, 1, tuple(statements), "clerk", password, database, timeout=40)


def check_conversation(host: str, dialect: str, port: int, missing: str) -> None:
    good = ask(host, drive(dialect, *STATEMENTS[:3]), port)
    assert (good["ok"], good["error"], good["protocol"]) == (True, "", dialect)
    assert json.loads(lines(good)[2]) == [
        ["id", "word", "price"], ["1", "čau", "1.50"], ["2", None, "0.00"],
    ]  # fmt: skip
    # The server was asked before: what was written is there. An error ends no conversation.
    mixed = ask(host, drive(dialect, *STATEMENTS[3:]), port)
    assert (mixed["ok"], mixed["error"]) == (False, lines(mixed)[0])
    assert missing in mixed["error"]
    assert json.loads(lines(mixed)[1]) == [["n"], ["2"]]
    refused = ask(host, drive(dialect, "SELECT 1", password="wrong"), port)
    assert (refused["ok"], refused["body_size"], refused["protocol"]) == (False, 0, "")
    assert "clerk" in refused["error"]


def test_statements_on_mariadb(mariadb: str) -> None:
    with server(mariadb) as host:
        check_conversation(host, "mysql", 3306, "Table 'shop.nowhere' doesn't exist")


def test_statements_on_postgresql(postgresql: str) -> None:
    with server(postgresql) as host:
        check_conversation(host, "postgresql", 5432, 'relation "nowhere" does not exist')


CONFIG = """
sql_probes:
  - {dialect: mysql, port: 3306, user: clerk, password: p@ss word, database: shop,
     statements: [CREATE TABLE t (a int) ENGINE=InnoDB, INSERT INTO t VALUES (7), SELECT a FROM t]}
"""


def test_mariadb_is_minified_with_statements_as_probes(mariadb: str, tmp_path: Path) -> None:
    (tmp_path / "minify.yaml").write_text(CONFIG)
    tag = f"{mariadb}:min"
    done = minify("build", mariadb, "--tag", tag, "--report", "r.json", home=tmp_path)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "no difference" in done.stdout
        (probe,) = json.loads((tmp_path / "r.json").read_text())["value"]["drives"]
        assert (probe["ok"], probe["protocol"]) == (True, "mysql")
        with server(tag) as host:
            more = ask(host, drive("mysql", "SELECT json_value('{\"a\": 5}', '$.a') AS a"), 3306)
        assert lines(more) == ['[["a"], ["5"]]']
    finally:
        docker("rmi", "--force", tag, check=False)
