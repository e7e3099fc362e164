'use strict';
module.exports = async (query) => {
  const semver = require('semver');
  return { newest: semver.maxSatisfying(['1.2.3', '1.9.0', '2.0.0'], query.get('range') || '^1') };
};
