// Package ctl works switches from other processes, by HTTP on a unix socket: Handler is the side of the switches, Client
// the other one, and Main is the command vale-ctl.
//
//	GET  /status              JSON, []Status
//	GET  /metrics             the same counters in Prometheus' text format 0.0.4
//	POST /attach?name=&port=  adds the port that a text describes under its full name, vale0:1
//	POST /detach?name=
//	POST /set?name=           JSON, Settings
//
// Errors are text, with status 400, or 404 for what does not exist.
package ctl
