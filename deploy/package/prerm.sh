#!/bin/sh
# Stops linesplit cleanly before its files are removed. During an update the old process keeps
# running until the new one is installed.
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl --no-reload disable --now linesplit.service linesplit.socket
fi
