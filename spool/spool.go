// Package spool keeps buffers of lines in files until they are confirmed, so that they outlive the
// process, and outages that are longer than memory lasts.
package spool
