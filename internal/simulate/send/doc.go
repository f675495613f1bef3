// Package send plays the clients of a proxy or of a receiver of lines: log shippers, requests
// that wait for an answer, and connections that carry one line, nothing, or one byte at a time.
// It counts what it has sent, so that the count can be compared with that of a receiver.
//
// [Options] says where to connect and what to send; [Run] does it. Lines are numbered records of
// package internal/simulate/record, or come from a reader.
package send
