'use strict';
const path = require('path');
module.exports = async () => {
  const { Worker } = require('worker_threads');
  return new Promise((resolve, reject) => {
    const worker = new Worker(path.join(__dirname, '..', 'square.js'), { workerData: 12 });
    worker.once('message', (value) => resolve({ value }));
    worker.once('error', reject);
  });
};
