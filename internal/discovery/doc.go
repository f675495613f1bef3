// Package discovery finds targets. A [Driver] asks sources, such as DNS or a file, again and again,
// and a [Keeper] decides from their answers which targets there are.
package discovery
