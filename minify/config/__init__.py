"""What the user asks for: configuration file, environment, flags, probes, surroundings."""
