"""The part of an image configuration that says how it runs, read field by field (config.md).

From archives, layouts, registries and Docker's own answers alike. A field of a wrong type is an
error that names it: what Docker would refuse to unmarshal is not guessed at. What Docker takes in
place of another is taken too: null for nothing, a string for a list of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minify.errors import EngineError
from minify.model import Healthcheck, ImageConfig

NANO = 1e9
INT64_MAX = (1 << 63) - 1
SHOWN = 60
HINT = "the image's configuration is malformed: build or pull the image again"


@dataclass(frozen=True)
class Fields:
    """An object of a configuration; `where` names it in messages."""

    where: str
    values: Mapping[str, Any]

    def fail(self, key: str, problem: str) -> EngineError:
        """An error about a field."""
        shown = ascii(self.values.get(key))
        shown = shown if len(shown) <= SHOWN else shown[:SHOWN] + "…"
        return EngineError(
            f"malformed image configuration: {self.where}{key} {problem}: {shown}", hint=HINT
        )

    def text(self, key: str, default: str = "") -> str:
        """A string without NUL, which no program could be given."""
        value = self.values.get(key)
        if value is None or value == "":
            return default
        return self._string(key, value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; a lone string counts as one, as Docker reads it."""
        value = self.values.get(key)
        items = [value] if isinstance(value, str) else value
        if items is None:
            return ()
        if not isinstance(items, list):
            raise self.fail(key, "is not a list of strings")
        return tuple(self._string(key, item) for item in items)

    def keys(self, key: str) -> tuple[str, ...]:
        """The members of a set, which Go writes as an object of empty objects; sorted."""
        return tuple(sorted(self._string(key, k) for k in self.table(key).values))

    def labels(self, key: str) -> dict[str, str]:
        """An object of strings."""
        table = self.table(key)
        return {k: table._string(k, v) for k, v in table.values.items() if v is not None}

    def table(self, key: str) -> Fields:
        """An object inside this one."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.fail(key, "is not an object")
        return Fields(f"{self.where}{key}.", value or {})

    def number(self, key: str) -> int:
        """A whole number from 0 on that fits 64 bits; 0 for none."""
        value = self.values.get(key)
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= INT64_MAX:
            raise self.fail(key, "is not a whole number from 0 to 2^63-1")
        return value

    def _string(self, key: str, value: Any) -> str:
        if not isinstance(value, str):
            raise self.fail(key, "is not a string, or not made of strings")
        if "\0" in value:
            raise self.fail(key, "has a NUL character")
        return value


def run_config(config: Any, raw: str) -> ImageConfig:
    """Make an ImageConfig of the object `config`, `raw` being all of it as canonical JSON text.

    Raises EngineError that names the first field that is not as it should be.
    """
    found = Fields("", {"config": config}).table("config")
    found.labels("Labels")
    found.texts("Shell")
    return ImageConfig(
        entrypoint=found.texts("Entrypoint"),
        cmd=found.texts("Cmd"),
        env=found.texts("Env"),
        user=found.text("User"),
        workdir=found.text("WorkingDir", "/"),
        ports=found.keys("ExposedPorts"),
        volumes=found.keys("Volumes"),
        stop_signal=found.text("StopSignal", "SIGTERM"),
        healthcheck=_healthcheck(found.table("Healthcheck")),
        raw=raw,
    )


def _healthcheck(found: Fields) -> Healthcheck | None:
    test = found.texts("Test")
    seconds = {k: found.number(k) / NANO for k in ("Interval", "Timeout", "StartPeriod")}
    retries = found.number("Retries")
    if test in ((), ("NONE",)):
        return None
    return Healthcheck(
        test,
        seconds["Interval"] or 30.0,
        seconds["Timeout"] or 30.0,
        seconds["StartPeriod"],
        retries or 3,
    )
