'use strict';
module.exports = async () => require('../config').current();
