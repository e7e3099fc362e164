'use strict';
const path = require('path');
module.exports = async () => {
  const { execFileSync } = require('child_process');
  return { said: execFileSync(process.execPath, [path.join(__dirname, '..', 'child.js')]).toString() };
};
