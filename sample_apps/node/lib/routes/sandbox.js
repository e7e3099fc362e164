'use strict';
module.exports = async () => {
  const vm = require('vm');
  const util = require('util');
  return { shown: util.inspect(vm.runInNewContext('({ a: [1, 2n], when: new Date(0) })')) };
};
