"""What is known about Node.js and its packages: names, not paths of one image."""

from __future__ import annotations

INTERPRETERS = frozenset({"node", "nodejs", "bun", "deno"})
CODE = (".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".jsx", ".tsx")
# What `require` and `import` may leave out of a file's name.
EXTENSIONS = ("", ".js", ".json", ".node", ".mjs", ".cjs", ".ts", ".tsx", ".jsx")
INDEXES = ("/index.js", "/index.json", "/index.node", "/index.mjs", "/index.cjs", "/index.ts")
CONDITIONS = ("node", "import", "require", "default", "module-sync", "production", "development",
              "node-addons", "module")  # fmt: skip

# Where Debian and npm put packages for everybody: folders of packages not named node_modules.
GLOBAL_FOLDERS = ("/usr/share/nodejs", "/usr/lib/nodejs", "/usr/local/lib/nodejs")
GLOBAL_MODULES = ("/usr/local/lib/node_modules", "/usr/lib/node_modules")

# Left out of a package, at its top only: deeper down such names may be code (yaml/dist/doc).
SKIPPED_DIRS = frozenset({"test", "tests", "__tests__", "spec", "doc", "docs", "example",
                          "examples", "benchmark", "benchmarks", "bench", "coverage", ".github",
                          ".git", "obj.target", ".nyc_output", "fixtures"})  # fmt: skip
SKIPPED_ENDS = (".md", ".markdown", ".map", ".ts", ".mts", ".cts", ".flow", ".tsbuildinfo", ".cc",
                ".cpp", ".c", ".h", ".hpp", ".o", ".a", ".gyp", ".gypi", ".coffee")  # fmt: skip
# Prebuilt addons (prebuildify): folders named PLATFORM-ARCH; only Linux runs in a container here.
FOREIGN_PREBUILDS = ("darwin", "win32", "freebsd", "openbsd", "netbsd", "android", "ios", "sunos",
                     "aix")  # fmt: skip
# How addons of other systems begin: Windows' PE, Apple's Mach-O of one machine or of several.
FOREIGN_ADDONS = (b"MZ", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")

# Never part of an application, though inside its folder.
FOREIGN_DIRS = frozenset({"node_modules", ".git", ".nyc_output", ".cache", "bower_components"})
SHARED_DIRS = frozenset({
    "/", "/bin", "/sbin", "/usr", "/usr/bin", "/usr/sbin", "/usr/local", "/usr/local/bin", "/home",
    "/usr/lib", "/usr/local/lib", "/usr/share", "/usr/local/share", "/etc", "/opt", "/root", "/srv",
    "/var", "/var/lib", "/var/www", "/tmp", "/lib", "/usr/libexec", "/run",
})  # fmt: skip
OWN_FILES, OWN_BYTES = 20_000, 512 * 1024 * 1024
# Packages that only build others: they need compilers, and what of them is used is seen in use.
BUILDERS = frozenset({"node-gyp", "prebuild-install", "cmake-js"})
MANIFEST = 16 * 1024 * 1024  # bytes of a package.json that are read at most
