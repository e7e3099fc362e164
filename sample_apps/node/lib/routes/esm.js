'use strict';
module.exports = async () => {
  const { greet } = await import('../greeting.mjs');
  return { greeting: greet('ESM') };
};
