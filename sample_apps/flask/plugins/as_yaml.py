"""Export as YAML."""

import yaml


def render(record):
    return yaml.safe_dump(record), "application/yaml"
