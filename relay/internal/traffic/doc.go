// Package traffic is what connections and sessions of datagrams have in common: the settings, the limits on clients and their counts, the
// ends that there are, and what the access log gets.
package traffic
