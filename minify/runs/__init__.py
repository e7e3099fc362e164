"""One plan run once in a container: created, watched, driven, stopped."""
