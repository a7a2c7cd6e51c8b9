// Package switchboard joins a vale.Switch with what it has to do with: its ports for guests are vhost-user back-ends
// (VhostUser), and Open makes a port of any kind from a text such as "tap:tap0".
package switchboard
