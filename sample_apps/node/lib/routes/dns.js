'use strict';
module.exports = async () => {
  const { lookup } = require('dns').promises;
  return lookup('localhost', { family: 4 });
};
