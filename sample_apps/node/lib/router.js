'use strict';
const path = require('path');

const routes = {
  '/': 'home', '/semver': 'semver', '/yaml': 'yaml', '/intl': 'intl', '/zlib': 'zlib',
  '/crypto': 'crypto', '/worker': 'worker', '/child': 'child', '/esm': 'esm', '/dns': 'dns',
  '/stream': 'stream', '/crash': 'crash', '/tls': 'tls', '/config': 'config-page', '/vm': 'sandbox',
};

async function body(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}

async function handle(request, response) {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname.startsWith('/static/')) {
    return require('./static').send(response, url.pathname.slice('/static/'.length));
  }
  if (url.pathname.startsWith('/view/')) {
    return require('./views').send(response, path.basename(url.pathname), url.searchParams);
  }
  const name = routes[url.pathname];
  if (!name) return require('./errors').notFound(response, url.pathname);
  const route = require('./routes/' + name);
  const result = await route(url.searchParams, await body(request));
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(result));
}

module.exports = { handle };
