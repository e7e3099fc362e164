"""Images at rest: read from engines' layers, archives and layouts; written deterministically."""
