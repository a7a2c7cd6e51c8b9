// Package remote carries a run to another machine: a host image that runs as a VM, or a lab PC.
//
// There, a copy of this program called [Program] (the relay) reads one line of JSON, the job, from standard input and
// answers on standard output with a stream of messages; see [Writer]. The end of its standard input tells it to stop. So
// anything that starts a program and joins its standard input and output is good enough to reach it: an agent's Exec over
// vsock, or ssh.
//
// The stream is text lines with files in between: every message is one line of JSON, and a message of kind "file" is
// followed by as many bytes as it says. Limits: a line of 32 MiB, a file of 4 GiB, names that stay in the folder.
package remote
