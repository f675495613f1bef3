#!/bin/sh
# Creates the user and has systemd load the units. The first installation starts nothing: no target
# is configured yet.
set -e
[ "$1" = configure ] || exit 0
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers linesplit.conf
elif ! getent passwd linesplit >/dev/null; then
	useradd --system --user-group --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin linesplit
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	# An update. The sockets stay open during the restart.
	[ -z "$2" ] || systemctl try-restart linesplit.service
fi
if [ -z "$2" ]; then
	echo "linesplit: name your targets in /etc/linesplit/linesplit.conf, then: systemctl enable --now linesplit.socket linesplit.service"
fi
