package cli

import (
	"strings"

	"picolab/hostctl/internal/labs"
	"picolab/hostctl/internal/place"
)

// A target is an endpoint of a running lab, written LAB/GUEST or LAB/host.
type target struct{ lab, endpoint string }

func parseTarget(s string) (target, error) {
	lab, endpoint, ok := strings.Cut(s, "/")
	if !ok || lab == "" || endpoint == "" || strings.Contains(endpoint, "/") {
		return target{}, usage("%q is not LAB/GUEST or LAB/%s", s, labs.HostEndpoint)
	}
	return target{lab, endpoint}, nil
}

func (t target) String() string { return t.lab + "/" + t.endpoint }

func openStore() (*labs.Store, error) { return labs.Open(place.RunDir()) }
