'use strict';
module.exports = async () => {
  const zlib = require('zlib');
  const text = 'again '.repeat(50);
  return { brotli: zlib.brotliDecompressSync(zlib.brotliCompressSync(text)).toString().length };
};
