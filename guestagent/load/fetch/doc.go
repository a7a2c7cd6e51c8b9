// Package fetch downloads a file over HTTP/1.1 by several connections at a time, a range each, and goes on where it was
// when the network is gone for a while, as download accelerators do.
//
// Of HTTP it knows GET with one range of bytes (RFC 9110, section 14) on a connection that stays open: no redirections, no
// chunks, no compression, no TLS.
package fetch
