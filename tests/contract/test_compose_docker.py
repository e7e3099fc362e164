"""A service with what it depends on, out of a compose file."""

from __future__ import annotations

from pathlib import Path

from tests.engine_kit import BASE, docker, image, labelled, minify, needs_docker

pytestmark = needs_docker

# The front asks the back for every page, as a web service asks its database. The back counts its
# visitors: one health check, then one page, in each trial alike.
FRONT = r"""
use IO::Socket::INET;
$SIG{TERM} = sub { exit 0 };
my $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 9, ReuseAddr => 1) or die;
while (my $c = $s->accept) {
    while (my $h = <$c>) { last if $h =~ /^\r?$/ }
    my $b = IO::Socket::INET->new(PeerAddr => "back:$ENV{BACK_PORT}") or die "no back: $!";
    my $said = <$b>;
    print $c "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n$said";
    close $c;
}
"""
BACK = r"""
use IO::Socket::INET;
$SIG{TERM} = sub { exit 0 };
my $s = IO::Socket::INET->new(LocalPort => 7000, Listen => 9, ReuseAddr => 1) or die;
my $n = 0;
while (my $c = $s->accept) { $n++; print $c "$ENV{WORD} $n\n"; close $c }
"""
DOCKERFILE = f'FROM {BASE}\nCOPY app.pl /app.pl\nEXPOSE 8080\nCMD ["perl", "/app.pl"]\n'
COMPOSE = """
services:
  front:
    image: minify-compose-front
    environment: {BACK_PORT: "7000"}
    depends_on: {back: {condition: service_healthy}}
  back:
    image: minify-compose-back
    environment: ["WORD=${WORD:-hello}"]
    depends_on: {setup: {condition: service_completed_successfully}}
    healthcheck:
      test: [CMD, perl, -MIO::Socket::INET, -e, "exit !IO::Socket::INET->new('127.0.0.1:7000')"]
      interval: 200ms
  setup:
    image: minify-compose-back
    command: ["true"]
"""


def networks() -> list[str]:
    return docker("network", "ls", "-q", "--filter", "label=io.minify.run").split()


def test_dependencies_come_up_for_each_trial_and_go_again(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    text = "compose: compose.yaml\nhttp_probes: [{path: /, expect: '^bonjour 2$'}]\n"
    (tmp_path / "minify.yaml").write_text(text)
    before = set(networks()), set(labelled())
    with (
        image("minify-compose-front", DOCKERFILE, **{"app.pl": FRONT}),
        image("minify-compose-back", DOCKERFILE, **{"app.pl": BACK}),
    ):
        try:
            done = minify("build", "--tag", "minify-compose:min", home=tmp_path, WORD="bonjour")
            assert done.returncode == 0, done.stdout + done.stderr
            assert "no difference" in done.stdout
        finally:
            docker("rmi", "--force", "minify-compose:min", check=False)
    assert set(networks()) <= before[0]
    assert set(labelled()) <= before[1]


def test_a_dependency_that_does_not_come_up_is_said(tmp_path: Path) -> None:
    broken = COMPOSE.replace('command: ["true"]', "command: [sh, -c, 'echo no luck; exit 1']")
    (tmp_path / "compose.yaml").write_text(broken)
    with (
        image("minify-compose-front", DOCKERFILE, **{"app.pl": FRONT}),
        image("minify-compose-back", DOCKERFILE, **{"app.pl": BACK}),
    ):
        done = minify("build", "--compose", "compose.yaml", home=tmp_path)
    assert done.returncode == 6
    assert "the service setup did not come up" in done.stderr
    assert "no luck" in done.stderr


BUILDS = """
name: minify-compose
services:
  front:
    build: front
    environment: {BACK_PORT: "7000", WORD: hello}
    depends_on: {back: {condition: service_healthy}}
  back:
    build: {context: back, dockerfile: Dockerfile.back, args: {WORD: salut}}
    healthcheck:
      test: [CMD, perl, -MIO::Socket::INET, -e, "exit !IO::Socket::INET->new('127.0.0.1:7000')"]
      interval: 200ms
"""


def test_services_that_say_build_are_built(tmp_path: Path) -> None:
    argument = "ARG WORD=none\nENV WORD=$WORD\nCMD"
    files = {
        "compose.yaml": BUILDS,
        "minify.yaml": "compose: compose.yaml\nhttp_probes: [{path: /, expect: '^salut 2$'}]\n",
        "front/Dockerfile": DOCKERFILE,
        "front/app.pl": FRONT,
        "back/Dockerfile.back": DOCKERFILE.replace("CMD", argument),
        "back/app.pl": BACK,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    try:
        done = minify("build", home=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "minify-compose-front:latest-min" in done.stdout
        assert "no difference" in done.stdout
    finally:
        made = ("minify-compose-front", "minify-compose-front:latest-min", "minify-compose-back")
        docker("rmi", "--force", *made, check=False)
