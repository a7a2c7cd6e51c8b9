package boot

import (
	"context"
	"os"
	"slices"

	"picolab/guestagent/verbs"
	"picolab/guestagent/wire"
)

// parametersAtBoot are kernel parameters a lab wants: unprivileged ping sockets for any group, socket buffers that a
// bulk transfer under emulation does not overflow.
var parametersAtBoot = [][2]string{
	{"/proc/sys/net/ipv4/ping_group_range", "0 2147483647"},
	{"/proc/sys/net/core/rmem_max", "33554432"},
	{"/proc/sys/net/core/wmem_max", "33554432"},
	{"/proc/sys/net/ipv4/conf/all/accept_redirects", "0"},
}

// network brings up the loopback link and sets parameters.
func (g *guest) network(ctx context.Context) {
	_, err := verbs.New(verbs.Env{}).SetLink(ctx, &wire.SetLinkRequest{Link: "lo", Up: new(true)})
	check("lo", err)
	for p := range slices.Values(parametersAtBoot) {
		check("set parameter", os.WriteFile(p[0], []byte(p[1]), 0))
	}
}
