// Package e2e tests the built program between real sockets, by subject. It contains only tests. The
// central claims of line mode are in integration_test.go at the top level.
package e2e
