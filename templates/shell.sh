#!/bin/bash
# Shrink a container image in CI: image in, image out, gates, reports. No prompts, no colours.
#
# Usage: templates/shell.sh [OPTION of minify build]…
#
# The image, the configuration and the gates are minify's own settings, in minify.yaml or as
# variables (docs/ci.md): MINIFY_IMAGE or MINIFY_CONTEXT, MINIFY_TAG, MINIFY_CONFIG, MINIFY_MAX_SIZE,
# MINIFY_MIN_REDUCTION, MINIFY_MAX_GROWTH, MINIFY_FORBID, MINIFY_REQUIRE, MINIFY_TIME_BUDGET …
# What is done around it:
#   SHRINK_INSTALL   what pip installs when there is no minify: a wheel, a folder, a git+https URL
#   SHRINK_LOAD      an archive (docker save, OCI) to load first; without MINIFY_IMAGE it names the image
#   SHRINK_PULL=true     pull MINIFY_IMAGE first
#   SHRINK_SAVE      write the output to this archive (docker save)
#   SHRINK_PUSH=true     push the output under its name
#   SHRINK_REPORTS   the folder for the reports (minify-reports)
#   SHRINK_CACHE     the folder for former results, to be saved and restored by the CI system
#   SHRINK_SUDO=true     run minify itself as root: more is seen, layers are read in place
#
# Exit status: that of minify (docs/ci.md). The reports are written when a gate fails, too.
set -euo pipefail

reports=${SHRINK_REPORTS:-minify-reports}

say() { printf 'shrink: %s\n' "$*" >&2; }

install_minify() {
    command -v minify >/dev/null && return 0
    if [ -z "${SHRINK_INSTALL:-}" ]; then
        say "minify is not installed: set SHRINK_INSTALL to a wheel, a folder or a git+https URL"
        return 4
    fi
    local venv=${SHRINK_VENV:-$PWD/.minify-venv}
    [ -x "$venv/bin/pip" ] || python3 -m venv "$venv" || return 4
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        "$SHRINK_INSTALL" >&2 || return 4
    PATH=$venv/bin:$PATH
}

# "Loaded image: NAME" or "Loaded image ID: sha256:…", one line for each image.
load_archive() {
    local told names
    told=$(docker load --quiet --input "$SHRINK_LOAD") || return 5
    names=$(sed -n 's/^Loaded image\( ID\)\{0,1\}: //p' <<<"$told")
    if [ -z "${MINIFY_IMAGE:-}" ]; then
        if [ "$(wc -l <<<"$names")" != 1 ]; then
            say "$SHRINK_LOAD holds several images, name one in MINIFY_IMAGE: $names"
            return 2
        fi
        export MINIFY_IMAGE=$names
    fi
}

shrink() {
    local command=(minify build --report "$reports/minify.json" --report "$reports/minify.sarif"
        --report "$reports/minify.xml" --report "$reports/minify.md"
        --provenance "$reports/provenance.json")
    [ -z "${SHRINK_CACHE:-}" ] || command+=(--cache-dir "$SHRINK_CACHE")
    if [ "${SHRINK_SUDO:-}" = true ] && [ "$(id -u)" != 0 ]; then
        # By name alone: values (MINIFY_ENV may hold passwords) would be in the list of processes.
        local kept=PATH name
        for name in $(compgen -e MINIFY_) SOURCE_DATE_EPOCH DOCKER_HOST DOCKER_CONFIG; do
            [ -z "${!name:-}" ] || kept+=,$name
        done
        command=(sudo --non-interactive --preserve-env="$kept" env "PATH=$PATH" "${command[@]}")
    fi
    local status=0
    "${command[@]}" "$@" </dev/null || status=$?
    if [ "${SHRINK_SUDO:-}" = true ] && [ "$(id -u)" != 0 ]; then
        sudo --non-interactive chown -R "$(id -u):$(id -g)" "$reports" ${SHRINK_CACHE:+"$SHRINK_CACHE"}
    fi
    return "$status"
}

# What the next steps need, as NAME=value lines (GitHub's outputs, GitLab's dotenv reports).
facts() {
    python3 - "$reports/minify.json" <<'PYTHON'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as stream:
    report = json.load(stream)["value"]
for name, value in {
    "SHRUNK_IMAGE": report["minified"]["reference"] if report["tagged"] else "",
    "SHRUNK_DIGEST": (report["outputs"] or {}).get(
        report["minified"]["reference"], report["minified"]["digest"]
    ),
    "SHRUNK_SIZE": report["minified"]["size"],
    "SHRUNK_ORIGINAL_SIZE": report["original"]["size"],
    "SHRUNK_FAILED_GATES": sum(not gate["passed"] for gate in report["gates"]),
}.items():
    print(f"{name}={value}")
PYTHON
}

install_minify || exit
mkdir -p "$reports"
# Reports of an earlier run must not be taken for this one's.
rm -f "$reports"/minify.{json,sarif,xml,md} "$reports"/{provenance.json,result.env}
[ -z "${SHRINK_LOAD:-}" ] || load_archive || exit
[ "${SHRINK_PULL:-}" != true ] || docker pull --quiet "$MINIFY_IMAGE" >&2 || exit 5

status=0
shrink "$@" || status=$?
[ ! -e "$reports/minify.json" ] || facts >"$reports/result.env"
[ "$status" = 0 ] || exit "$status"

output=$(sed -n 's/^SHRUNK_IMAGE=//p' "$reports/result.env")
[ -z "${SHRINK_SAVE:-}" ] || docker save --output "$SHRINK_SAVE" "$output"
[ "${SHRINK_PUSH:-}" != true ] || docker push --quiet "$output" >&2
say "made $output"
