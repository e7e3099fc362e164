"""The page for people who come from SlimToolkit: no flag without an answer, no answer made up."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from minify.cli.build import build_command
from minify.config.read import schema

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "slimtoolkit.md").read_text()
ROWS = [line.strip("| ").split(" | ", 1) for line in PAGE.splitlines() if line.startswith("| `--")]


def flags(text: str) -> list[str]:
    return text.split()


# The flags of `slim build` that probe, include or exclude, as its source of 2025 names them.
PROBES = flags("""
http-probe http-probe-off http-probe-cmd http-probe-cmd-file http-probe-start-wait
http-probe-retry-count http-probe-retry-wait http-probe-ports http-probe-full
http-probe-exit-on-failure http-probe-crawl http-crawl-max-depth http-crawl-max-page-count
http-crawl-concurrency http-max-concurrent-crawlers http-probe-apispec http-probe-apispec-file
http-probe-proxy-endpoint http-probe-proxy-port host-exec host-exec-file exec exec-file
continue-after container-probe-compose-svc
""")
KEPT = flags("""
path-perms path-perms-file preserve-path preserve-path-file include-path include-path-file
include-bin include-bin-file include-exe include-exe-file include-shell include-dir-bins
include-workdir workdir-exclude include-app-image-all app-image-start-instruction
app-image-start-instruction-group app-image-dockerfile include-paths-creport-file
include-oslibs-net include-ssh-client include-ssh-client-all include-ssh-client-basic
include-zoneinfo include-cert-all include-cert-bundles-only include-cert-dirs
include-cert-pk-all include-cert-pk-dirs include-new include-app-nuxt-dir
include-app-nuxt-build-dir include-app-nuxt-dist-dir include-app-nuxt-static-dir
include-app-nuxt-nodemodules-dir include-app-next-dir include-app-next-build-dir
include-app-next-dist-dir include-app-next-static-dir include-app-next-nodemodules-dir
include-node-package keep-perms exclude-pattern exclude-varlock-files exclude-mounts
""")
RUN = flags("""
user entrypoint cmd workdir env env-file label volume expose link network hostname etc-hosts-map
container-dns container-dns-search mount publish-port publish-exposed-ports compose-file
target-compose-svc target-compose-svc-image compose-svc-start-wait target-compose-svc-no-ports
dep-exclude-compose-svc-all dep-include-compose-svc dep-exclude-compose-svc
dep-include-compose-svc-deps dep-include-target-compose-svc-deps compose-net compose-env-nohost
compose-env-file compose-workdir compose-project-name prestart-compose-svc poststart-compose-svc
prestart-compose-wait-exit target-kube-workload kube-manifest-file target tag dockerfile
""")


def answered() -> dict[str, str]:
    return {
        flag: answer for names, answer in ROWS for flag in re.findall(r"`--([a-z0-9-]+)`", names)
    }


@pytest.mark.parametrize("flag", PROBES + KEPT + RUN)
def test_no_flag_is_without_an_answer(flag: str) -> None:
    assert len(answered()[flag]) > 3


def test_every_flag_of_minify_named_there_exists() -> None:
    options = [p for p in build_command.params if isinstance(p, click.Option)]
    known = {name for o in options for name in (*o.opts, *o.secondary_opts)}
    named = set()
    for _, answer in ROWS:
        for code in re.findall(r"`([^`]+)`", answer):
            named |= set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", code))
    own = {f"--{flag}" for flag in answered()}  # "as `--include-ssh-client`"
    assert named - known - own == set()
    assert len(named & known) > 20


def test_every_rule_it_names_exists() -> None:
    from minify.policies.rules import load_packs

    rules = {rule.id for rule in load_packs((), ())}
    text = " ".join(answer for _, answer in ROWS)
    named = {
        name for group in re.findall(r"rules? ((?:`[a-z-]+`(?:, )?)+)", text)
        for name in re.findall(r"`([a-z-]+)`", group)
    }  # fmt: skip
    named |= set(re.findall(r"--policy-off ([a-z-]+)", text))
    assert named - rules == set()
    assert named


def test_every_setting_it_names_exists() -> None:
    known = set(schema()["properties"]) | set(schema()["$defs"]["http_request"]["properties"])
    for name in ("http_probes", "keep", "env", "crawl", "retries", "files", "body_file"):
        assert f"`{name}`" in PAGE
        assert name in known
