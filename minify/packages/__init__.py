"""Which package owns a path: dpkg, apk, rpm, wheels."""
