"""A small web application that loads much of what it needs only when a request asks for it."""

import importlib
import os

from flask import Flask, jsonify, render_template, request

app = Flask(__name__)


@app.get("/")
def index():
    return render_template("index.html", title="Home")


@app.get("/time/<path:zone>")
def time_in(zone):
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    moment = datetime(2024, 7, 1, 12, 0, tzinfo=UTC).astimezone(ZoneInfo(zone))
    return jsonify(zone=zone, time=moment.isoformat(), name=moment.tzname())


@app.get("/page/<name>")
def page(name):
    return render_template(f"pages/{name}.html", title=name.title())


@app.get("/money/<name>/<int:cents>")
def money(name, cents):
    import locale
    from datetime import date

    locale.setlocale(locale.LC_ALL, f"{name}.UTF-8")
    try:
        price = locale.currency(cents / 100, grouping=True)
        return jsonify(price=price, day=date(2024, 2, 29).strftime("%A %x"))
    finally:
        locale.setlocale(locale.LC_ALL, "C.UTF-8")


@app.get("/export/<kind>")
def export(kind):
    plugin = importlib.import_module(f"plugins.{kind}")
    body, content_type = plugin.render({"name": "Ada", "born": 1815, "langs": ["en", "fr"]})
    return body, 200, {"Content-Type": content_type}


@app.post("/sql")
def sql():
    import sqlite3

    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (a, b)")
    connection.executemany("insert into t values (?, ?)", request.get_json())
    return jsonify(total=connection.execute("select sum(b) from t").fetchone()[0])


@app.get("/digest/<name>")
def digest(name):
    import hashlib

    return hashlib.new(name, b"minify").hexdigest()


@app.get("/decimal/<left>/<right>")
def decimal(left, right):
    from decimal import Decimal

    return str(Decimal(left) / Decimal(right))


@app.get("/encode/<codec>")
def encode(codec):
    return "Grüße, 日本".encode(codec, errors="replace").hex()


@app.get("/host/<name>")
def host(name):
    import socket

    return jsonify(sorted({item[4][0] for item in socket.getaddrinfo(name, 80)}))


@app.get("/tls")
def tls():
    import ssl

    context = ssl.create_default_context()
    return jsonify(minimum=context.minimum_version.name, roots=context.cert_store_stats()["x509_ca"])


@app.get("/threads")
def threads():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        return jsonify(list(pool.map(lambda n: n * n, range(5))))


@app.get("/compress/<kind>")
def compress(kind):
    module = {"gzip": "gzip", "bz2": "bz2", "xz": "lzma"}[kind]
    codec = importlib.import_module(module)
    return codec.decompress(codec.compress(b"again " * 20))


@app.get("/whoami")
def whoami():
    import pwd

    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = "nobody in particular"
    return jsonify(uid=uid, name=name)


@app.get("/upload-form")
def upload_form():
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(b"kept for a moment")
        file.flush()
        return jsonify(size=os.path.getsize(file.name))


@app.get("/data")
def data():
    import csv
    from pathlib import Path

    with (Path(app.root_path) / "data" / "cities.csv").open(encoding="utf-8") as file:
        return jsonify(list(csv.DictReader(file)))


@app.get("/crash")
def crash():
    raise RuntimeError("on purpose")


@app.errorhandler(404)
def not_found(_error):
    return render_template("errors/404.html", title="Not found"), 404


@app.errorhandler(500)
def server_error(_error):
    import traceback
    import uuid

    kind = traceback.format_exc().strip().splitlines()[-1]
    return render_template("errors/500.html", title="Trouble", kind=kind, id=uuid.uuid4()), 500
