"""Keep and drop rules as data, one YAML file per theme."""
