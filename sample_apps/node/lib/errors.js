'use strict';
const { STATUS_CODES } = require('http');

function page(response, status, text) {
  response.statusCode = status;
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.end(`${STATUS_CODES[status]}: ${text}\n`);
}

module.exports = {
  notFound: (response, name) => page(response, 404, name),
  render: (response, error) => page(response, 500, `${error.code || error.name}: ${error.message.split('\n')[0]}`),
};
