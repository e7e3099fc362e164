'use strict';
module.exports = async () => { throw new Error('on purpose'); };
