"""`minify analyze` on a real image: original, output, and the same image out of an archive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.engine_kit import SERVER, SERVICE, docker, image, minify, needs_docker

pytestmark = needs_docker
NAME = "minify-analyze"
WASTEFUL = SERVICE.replace(
    "USER 1000",
    "RUN head -c 300000 /dev/urandom > /app/blob && cp /app/blob /app/copy\n"
    "RUN chmod 600 /app/blob && rm /app/copy\nRUN cp /app/blob /app/again\nUSER 1000",
)


def told(home: Path, *argv: str) -> dict[str, Any]:
    done = minify("analyze", *argv, "--json", home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def test_where_the_bytes_are(tmp_path: Path) -> None:
    with image(NAME, WASTEFUL, **{"app.pl": SERVER}):
        try:
            before = told(tmp_path, NAME)
            wasted = {w["path"]: w for w in before["wasted"]}
            assert wasted["/app/blob"]["bytes"] == 300000  # stored again for its mode
            assert wasted["/app/copy"]["deleted"]
            # No more than what the base's own package scripts overwrite beside these two.
            assert before["wasted_bytes"] - 600000 < 100000
            assert 0.98 < before["efficiency"] < 1
            assert ["/app/again", "/app/blob"] in [d["paths"] for d in before["duplicates"]]
            assert "chmod 600 /app/blob" in before["layers"][-2]["created_by"]
            assert any(p["name"] == "dpkg:libc6" for p in before["packages"])
            assert before["reasons"] == before["dropped"] == []
            assert sum(p["bytes"] for p in before["packages"]) == before["bytes"]

            docker("save", "--output", str(tmp_path / "a.tar"), f"{NAME}:latest")
            filed = told(tmp_path, f"docker-archive:{tmp_path}/a.tar", "--engine", "embedded")
            for key in ("bytes", "files", "wasted", "duplicates", "packages", "efficiency"):
                assert filed[key] == before[key], key

            assert minify("build", NAME, home=tmp_path).returncode == 0
            after = told(tmp_path, f"{NAME}:latest-min")
            again = told(tmp_path, NAME)
            assert (after["wasted"], after["efficiency"]) == ([], 1.0)
            assert sum(r["bytes"] for r in after["reasons"]) == after["bytes"]
            assert any(p["name"] == "dpkg:perl-base" for p in after["packages"])
            lost = sum(d["bytes"] for d in again["dropped"])
            assert lost == again["bytes"] - after["bytes"]
            text = minify("analyze", NAME, "--top", "2", home=tmp_path).stdout
            assert "dropped, by package" in text and "/app/copy (deleted)" in text
        finally:
            docker("rmi", "--force", f"{NAME}:latest-min", check=False)
