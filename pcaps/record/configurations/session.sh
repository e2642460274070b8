#!/bin/sh
export TERM=xterm LANG=C.UTF-8
xsetroot -solid '$colour'
openbox &
sleep 1
$body
