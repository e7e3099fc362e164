"""What is known about Python itself: names, not paths."""

from __future__ import annotations

# Loaded by the interpreter or by C code under names no source file shows (by codec, by strptime,
# for a traceback, at exit), or so common behind computed names that they belong to it.
ALWAYS = (
    "encodings", "codecs", "io", "abc", "site", "os", "stat", "posixpath", "genericpath", "ntpath",
    "_collections_abc", "_sitebuiltins", "_weakrefset", "_bootlocale", "_strptime", "locale",
    "calendar", "datetime", "zoneinfo", "json", "importlib", "runpy", "pkgutil", "zipimport",
    "warnings", "traceback", "linecache", "tokenize", "threading", "_threading_local", "copyreg",
    "types", "stringprep", "unicodedata", "sysconfig", "email", "decimal", "fractions", "numbers",
    "hashlib", "hmac", "secrets", "random", "uuid", "base64", "binascii", "csv", "socket", "ssl",
    "select", "selectors", "signal", "subprocess", "tempfile", "shutil", "logging", "contextlib",
    "functools", "dataclasses", "enum", "typing", "collections", "heapq", "bisect", "struct",
    "gzip", "zlib", "bz2", "lzma", "zipfile", "urllib", "http", "html", "concurrent", "queue",
    "mimetypes", "ctypes", "contextvars", "textwrap", "string", "re", "math", "statistics",
    "sqlite3", "sched", "gettext", "getpass", "ipaddress", "pickle", "copy", "glob", "fnmatch",
    "platform", "__future__", "_sysconfigdata*",
)  # fmt: skip

# Never followed into from the standard library or from installed packages: kept when used, or
# when the application itself imports them.
NEVER_BY_LIBRARIES = frozenset({
    "test", "idlelib", "tkinter", "_tkinter", "turtle", "turtledemo", "lib2to3", "ensurepip",
    "pydoc_data", "venv", "pip", "wheel", "setuptools", "_distutils_hack", "pytest", "_pytest",
    "nose", "mypy", "sphinx", "IPython", "ipykernel", "antigravity", "this", "lib_pypy_test",
})  # fmt: skip
# Installed by name for those who write the program, not for the program.
DEVELOPERS = frozenset({
    "bandit", "black", "build", "coverage", "flake8", "hatch", "isort", "jupyterlab", "notebook",
    "pdm", "pipenv", "pip_audit", "poetry", "pre_commit", "pylint", "pyright", "ruff", "tox",
    "twine", "uv", "virtualenv",
})  # fmt: skip
# Followed into only where an installed package imports them when it is itself imported.
SELDOM = frozenset({"distutils", "pkg_resources"})
# Tools the standard library's own functions use to test or to show themselves.
NEVER_BY_STDLIB = NEVER_BY_LIBRARIES | SELDOM | {
    "doctest", "unittest", "pydoc", "pdb", "bdb", "profile", "cProfile", "pstats", "trace",
    "webbrowser", "optparse", "readline", "rlcompleter", "code", "codeop", "curses", "_curses",
    "msilib", "winreg", "winsound", "_osx_support", "_aix_support", "_bootsubprocess", "_py_abc",
}  # fmt: skip

# Python versions of C modules, not read where the C module is there (`_io` always is).
STAND_INS = {"_pydecimal": "_decimal", "_pyio": "io", "_pydatetime": "_datetime"}

# Folders of installed packages that only their developers need.
SKIPPED_DIRS = frozenset({"tests", "test", "docs", "doc", "examples", ".git"})
SKIPPED_ENDS = (".pyi", ".pyx", ".pxd", ".c", ".cpp", ".h", ".hpp", ".pyc", ".a")

# Directories that hold programs of many origins: a script there has no tree of its own.
SHARED_DIRS = frozenset({
    "/", "/bin", "/sbin", "/usr", "/usr/bin", "/usr/sbin", "/usr/local", "/usr/local/bin",
    "/usr/local/sbin", "/usr/lib", "/usr/local/lib", "/usr/share", "/usr/local/share", "/etc",
    "/opt", "/home", "/root", "/srv", "/var", "/var/lib", "/tmp", "/lib", "/usr/libexec", "/run",
})  # fmt: skip
# Folders inside an application that are not its source.
FOREIGN_DIRS = frozenset({"node_modules", ".git", "site-packages", "dist-packages", "__pycache__",
                          ".tox", ".mypy_cache", ".pytest_cache"})  # fmt: skip
OWN_FILES, OWN_BYTES = 5000, 64 * 1024 * 1024
