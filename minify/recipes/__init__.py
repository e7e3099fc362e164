"""What common services need to be probed, as data: one YAML file each."""
