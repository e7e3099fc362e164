'use strict';
module.exports = async () => {
  const fs = require('fs').promises;
  const os = require('os');
  const path = require('path');
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'sample-'));
  await fs.writeFile(path.join(folder, 'note'), 'for a moment');
  const text = await fs.readFile(path.join(folder, 'note'), 'utf8');
  await fs.rm(folder, { recursive: true });
  return { text };
};
