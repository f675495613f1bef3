// Package udpdrops tells what the kernel has dropped at a UDP socket before it was read.
package udpdrops
