'use strict';
const fs = require('fs');
const path = require('path');

let values = null;
function reload() {
  values = JSON.parse(fs.readFileSync(path.join(__dirname, '..', 'config.json'), 'utf8'));
}
function current() {
  if (!values) reload();
  return values;
}
module.exports = { reload, current };
