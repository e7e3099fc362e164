'use strict';
module.exports = async (_query, body) => require('js-yaml').load(body);
