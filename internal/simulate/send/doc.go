// Package send plays the clients of a proxy or a receiver of lines: shippers of logs, requests that wait for an answer, connections that
// carry one line, nothing at all, or a byte at a time. It keeps an account of what it sent that a receiver's can be held against.
//
// Where it goes and what it writes is in the [Options]; [Run] does it. Lines are numbered records of package internal/simulate/record, or come from a
// reader.
package send
