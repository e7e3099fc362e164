'use strict';
module.exports = async () => ({ hello: 'world' });
