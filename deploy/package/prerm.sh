#!/bin/sh
# Stops it in order before its files go; an update goes on with the old process until the new one is there.
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl --no-reload disable --now linesplit.service linesplit.socket
fi
