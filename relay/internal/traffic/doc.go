// Package traffic holds what connections and UDP sessions share: the settings in force, the limits
// on clients, the counters, the reasons why connections end, and the records of the access log.
package traffic
