#!/bin/sh
# MODE: open (the default), tls (passwords and TLS), roles (dynamic security, a plug-in).
set -e
case "${MODE:-open}" in
  tls)
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
      -subj /CN=localhost -keyout /tmp/key.pem -out /tmp/cert.pem 2>/dev/null
    set -- mosquitto -c /broker/conf/tls.conf
    ;;
  roles)
    mosquitto_ctrl dynsec init /broker/data/roles.json admin adminpw >/dev/null
    set -- mosquitto -c /broker/conf/roles.conf
    ;;
esac
exec "$@"
