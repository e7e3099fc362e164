"""Run SQL statements over the PostgreSQL or MySQL wire protocol and say what came back.

Runs as `python3 -I drive_sql.py` (Python 3.9 or newer) with the package `psycopg` or `pymysql`;
the contract is in README.md. Each statement is a transaction of its own; its error is an answer.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import time
from typing import Any

BODY_LIMIT = 65536  # bytes of the rows that are handed on
ROWS = 1000  # rows of one result that are read
AGAIN = 0.2  # seconds between two attempts to connect


def connect_postgresql(drive: dict[str, Any]) -> Any:
    """Connect to PostgreSQL."""
    import psycopg

    return psycopg.connect(
        host=drive["host"], port=int(drive["port"]), user=drive.get("user") or "postgres",
        password=drive.get("password") or None, dbname=drive.get("database") or "postgres",
        connect_timeout=max(2, int(drive.get("timeout", 30))), autocommit=True,
    )  # fmt: skip


def connect_mysql(drive: dict[str, Any]) -> Any:
    """Connect to MySQL or MariaDB."""
    import pymysql

    seconds = max(2, int(drive.get("timeout", 30)))
    return pymysql.connect(
        host=drive["host"], port=int(drive["port"]), user=drive.get("user") or "root",
        password=drive.get("password") or "", database=drive.get("database") or None,
        connect_timeout=seconds, read_timeout=seconds, autocommit=True,
    )  # fmt: skip


CONNECT = {"postgresql": connect_postgresql, "mysql": connect_mysql}


def failures(dialect: str) -> tuple[type[BaseException], ...]:
    """What a driver raises when the server or the statement is at fault."""
    if dialect == "postgresql":
        import psycopg

        return (psycopg.Error, OSError)
    import pymysql

    return (pymysql.MySQLError, OSError, RuntimeError)  # the last: its cryptography is missing


def said(error: BaseException) -> str:
    """An error's first line, without where it happened."""
    text = str(error.args[-1]) if error.args else type(error).__name__
    return f"{type(error).__name__}: {text.strip().splitlines()[0] if text.strip() else ''}"


def connected(drive: dict[str, Any], wrong: tuple[type[BaseException], ...]) -> Any:
    """Connect, again until `timeout`: a database listens before it lets anybody in."""
    until = time.monotonic() + float(drive.get("timeout", 30))
    while True:
        try:
            return CONNECT[drive["dialect"]](drive)
        except wrong as error:
            hopeless = "password" in str(error).lower() or "denied" in str(error).lower()
            if hopeless or time.monotonic() > until:
                raise
            time.sleep(AGAIN)


def ask(connection: Any, statement: str) -> str:
    """Run one statement; its columns and rows as text."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        if cursor.description is None:
            return f"{cursor.rowcount} rows"
        names = [str(column[0]) for column in cursor.description]
        rows = [[None if v is None else str(v) for v in row] for row in cursor.fetchmany(ROWS)]
    return json.dumps([names, *rows], ensure_ascii=False)


def drive_one(drive: dict[str, Any]) -> dict[str, Any]:
    """Do one drive; the answer has the fields of `minify.model.Observation`."""
    wrong = failures(drive["dialect"])
    lines, errors, protocol = [], [], ""
    try:
        connection = connected(drive, wrong)
        protocol = drive["dialect"]
        try:
            for statement in drive.get("statements") or ():
                try:
                    lines.append(ask(connection, statement))
                except wrong as error:
                    lines.append(said(error))
                    errors.append(said(error))
        finally:
            connection.close()
    except wrong as error:
        errors.append(said(error))
    body = "\n".join(lines).encode("utf-8", "replace")
    return {
        "drive": drive["id"], "port": int(drive["port"]), "ok": not errors, "status": 0,
        "headers": [], "body": base64.b64encode(body[:BODY_LIMIT]).decode("ascii"),
        "body_sha256": hashlib.sha256(body).hexdigest(), "body_size": len(body),
        "error": errors[0] if errors else "", "protocol": protocol,
    }  # fmt: skip


def main() -> int:
    """Answer each line of requests until stdin ends; returns the contract's exit status."""
    for line in iter(sys.stdin.readline, ""):
        try:
            drives = json.loads(line)["drives"]
            for drive in drives:
                str(drive["id"]), str(drive["host"]), int(drive["port"]), CONNECT[drive["dialect"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            print(f"drive_sql: bad request: {error!r}", file=sys.stderr)
            return 2
        for drive in drives:
            print(json.dumps(drive_one(drive)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
