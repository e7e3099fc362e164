"""What is known about Ruby's own files and about gems' folders, as data."""

from __future__ import annotations

# Required by C code of the interpreter when first used, so no source says so.
IMPLICIT = ("unicode_normalize/normalize", "unicode_normalize/tables", "pp", "prettyprint", "set",
            "monitor", "rbconfig", "socket", "etc", "io/console", "io/wait", "rational", "complex",
            "enc/encdb", "enc/trans/transdb", "continuation", "error_highlight",
            "did_you_mean", "syntax_suggest/core_ext", "random/formatter")  # fmt: skip
# Developer tools in the standard library: followed only from applications, never from within.
TOOLS = frozenset({"bundler", "rdoc", "debug", "racc", "rinda", "minitest",
                   "rake", "test", "mkmf", "power_assert", "typeprof", "rbs"})  # fmt: skip
# In a gem's own folder, for its developers.
GEM_EXTRAS = frozenset({"test", "tests", "spec", "specs", "doc", "docs", "rdoc", "examples",
                        "example", "benchmark", "benchmarks", "features", "sample", "samples",
                        "contrib", "Rakefile", "Gemfile", "Gemfile.lock"})  # fmt: skip
EXTENSION_SOURCE = (".c", ".h", ".cc", ".cpp", ".hpp", ".o", ".rs", ".java", ".rl", ".y", ".log",
                    "Makefile", "extconf.rb")  # fmt: skip
