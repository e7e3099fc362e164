'use strict';
const fs = require('fs');
const path = require('path');
const mime = require('mime');

const root = path.join(__dirname, '..', 'public');

async function send(response, name) {
  const file = path.join(root, path.normalize('/' + decodeURIComponent(name)));
  if (!fs.existsSync(file)) return require('./errors').notFound(response, name);
  response.setHeader('Content-Type', mime.getType(file) || 'application/octet-stream');
  response.end(await fs.promises.readFile(file));
}

module.exports = { send };
