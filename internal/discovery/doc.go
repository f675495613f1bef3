// Package discovery finds targets: it asks sources, such as DNS or a file, again and again, and
// decides from their answers which targets there are.
package discovery
