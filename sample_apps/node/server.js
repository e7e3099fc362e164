'use strict';
// A plain HTTP service that requires most of its modules only when a request needs them.
const http = require('http');
const router = require('./lib/router');

const server = http.createServer((request, response) => {
  router.handle(request, response).catch((error) => {
    require('./lib/errors').render(response, error);
  });
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => server.close(() => process.exit(0)));
}
process.on('SIGHUP', () => {
  require('./lib/config').reload();
  console.log('configuration reloaded');
});
server.keepAliveTimeout = 1;
server.listen(process.env.PORT, '0.0.0.0', () => console.log('listening'));
