#!/bin/sh
# Runs in the container before its init: makes a database where the directory of the host has none.
set -eu
chown mysql:mysql /var/lib/mysql
chmod 0700 /var/lib/mysql
if [ -d /var/lib/mysql/mysql ]; then
    echo "there is a database"
    exit 0
fi
mariadb-install-db --user=mysql --datadir=/var/lib/mysql --skip-test-db
