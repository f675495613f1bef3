// Package e2e tests the built program between real sockets: all that integration_test.go at the top does not, by subject.
// It has nothing but tests.
package e2e
