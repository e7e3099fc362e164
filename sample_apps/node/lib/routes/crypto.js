'use strict';
module.exports = async (query) => {
  const crypto = require('crypto');
  return { digest: crypto.createHash(query.get('name') || 'sha256').update('minify').digest('hex') };
};
