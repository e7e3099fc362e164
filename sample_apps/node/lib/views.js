'use strict';
const fs = require('fs');
const path = require('path');

async function send(response, name, query) {
  const locale = query.get('lang') || 'en';
  const words = require(`../locales/${locale}.json`);
  const text = await fs.promises.readFile(path.join(__dirname, '..', 'views', `${name}.html`), 'utf8');
  response.setHeader('Content-Type', 'text/html; charset=utf-8');
  response.end(text.replace(/{{(\w+)}}/g, (_all, key) => words[key] || key));
}

module.exports = { send };
