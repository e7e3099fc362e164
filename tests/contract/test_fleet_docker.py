"""Two images of one base, minified with one shared list: their first layer is the same."""

from __future__ import annotations

import json
from pathlib import Path

from tests.engine_kit import SERVER, SERVICE, docker, image, minify, needs_docker

pytestmark = needs_docker
# Another service: it has more of the base's files, changes one of them and lists its folder.
OTHER = SERVICE.replace(
    "USER 1000", "RUN echo 'changed' >> /etc/debian_version\nUSER 1000"
).replace(
    'CMD ["perl", "/app/app.pl"]', 'CMD ["sh", "-c", "sort /etc/services; exec perl /app/app.pl"]'
)


def layers(name: str) -> list[str]:
    return list(json.loads(docker("image", "inspect", "-f", "{{json .RootFS.Layers}}", name)))


def test_images_of_a_fleet_share_their_first_layer(tmp_path: Path) -> None:
    files = {"app.pl": SERVER}
    with (
        image("minify-fleet-one", SERVICE, **files) as one,
        image("minify-fleet-other", OTHER, **files) as other,
    ):
        try:
            for name in (one, other):
                built = minify("build", name, "--layers", "shared", home=tmp_path)
                assert built.returncode == 0, built.stderr
            alone = {name: layers(f"{name}:latest-min") for name in (one, other)}
            locked = minify("lock", "--shared", one, other, home=tmp_path)
            assert locked.returncode == 0, locked.stderr
            listed = (tmp_path / "minify.shared").read_text().splitlines()
            assert "/usr/bin/perl" in listed  # all of them keep it
            assert "/etc/debian_version" not in listed  # not the same in all of them
            for name in (one, other):
                built = minify(
                    "build", name, "--force", "--shared-with", "minify.shared", home=tmp_path
                )
                assert built.returncode == 0, built.stderr
                assert "no difference" in built.stdout
            first, second = (layers(f"{name}:latest-min") for name in (one, other))
            assert first[0] == second[0]
            assert first[0] not in alone[one] + alone[other]  # it holds more than the C library
            assert first[-1] != second[-1]
            again = minify("lock", "--shared", other, one, "-o", "again", home=tmp_path)
            assert again.returncode == 0, again.stderr
            assert (tmp_path / "again").read_text().splitlines() == listed
        finally:
            docker("rmi", "--force", f"{one}:latest-min", f"{other}:latest-min", check=False)
