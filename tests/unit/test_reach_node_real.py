"""A real Node.js finds everything in an application cut down to what the resolver keeps."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from minify.run import run
from tests.kit import Content, Link
from tests.unit.test_reach_node import reach

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
STORE = "/app/node_modules/.pnpm"


def manifest(**fields: object) -> str:
    return json.dumps(fields)


APP: dict[str, Content] = {
    "/app/package.json": manifest(
        name="app", exports={"./self": "./lib/self.js"}, imports={"#inner": "./lib/inner.cjs"},
        dependencies={"mapped": "1", "linked": "1"},
    ),
    "/app/server.js": "console.log('started')",
    "/app/lib/self.js": "module.exports = 'self'",
    "/app/lib/inner.cjs": "module.exports = 'inner'",
    "/app/lib/esm.mjs": "export { default } from 'mapped/sub'",
    "/app/lazy.js": """
const { createRequire } = require('module');
module.exports = async () => [
  require('mapped'), require('mapped/sub'), (await import('./lib/esm.mjs')).default,
  require('linked'), require('app/self'), require('#inner'), require('plain/deep'),
  createRequire(__filename)('listed'), require('./lib/' + 'self'), require('./data').n,
].join(' ')""",
    "/app/data.json": '{"n": 1}',
    "/app/node_modules/mapped/package.json": manifest(
        name="mapped",
        exports={".": {"import": "./m.mjs", "require": "./c.cjs"}, "./sub": "./test/sub.js"},
    ),
    "/app/node_modules/mapped/m.mjs": "export default 'esm'",
    "/app/node_modules/mapped/c.cjs": "module.exports = 'cjs'",
    "/app/node_modules/mapped/test/sub.js": "module.exports = require('mapped') + 'sub'",
    "/app/node_modules/linked": Link(".pnpm/linked@1/node_modules/linked"),
    f"{STORE}/linked@1/node_modules/linked/package.json": manifest(
        main="lib", dependencies={"below": "1"}
    ),
    f"{STORE}/linked@1/node_modules/linked/lib/index.js": "module.exports = require('below')",
    f"{STORE}/linked@1/node_modules/below": Link("../../below@2/node_modules/below"),
    f"{STORE}/below@2/node_modules/below/index.js": "module.exports = 'below'",
    "/app/node_modules/plain/package.json": manifest(name="plain"),
    "/app/node_modules/plain/deep.js": "module.exports = 'deep'",
    "/app/node_modules/listed/index.json": '"listed"',
    "/app/node_modules/unused/index.js": "",
}  # fmt: skip


def test_every_lazy_load_still_works(tmp_path: Path) -> None:
    kept, findings = reach(APP, ["/app/server.js"])
    for path in kept & set(APP):
        target, content = tmp_path / path[1:], APP[path]
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            os.symlink(content.target, target)
        else:
            assert isinstance(content, str)
            target.write_text(content, encoding="utf-8")
    script = "require('./lazy')().then(console.log)"
    done = run(["node", "-e", script], timeout=60, cwd=str(tmp_path / "app"))
    assert done.stdout == "cjs cjssub cjssub below self inner deep listed self 1\n"
    assert findings == []
    assert "/app/node_modules/unused/index.js" not in kept
