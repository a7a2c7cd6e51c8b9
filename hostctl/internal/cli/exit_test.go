package cli

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"picolab/guestagent/wire"
	"picolab/hostctl/internal/labs"
	"picolab/hostctl/lab"
)

func TestExitCode(t *testing.T) {
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		err  error
		want int
	}{
		{"done", nil, nil, 0},
		{"done in spite of Ctrl-C", interrupted, nil, 0},
		{"guest's fault", nil, fmt.Errorf("up: %w", &lab.GuestError{Guest: "a", Err: errors.New("mute")}), exitFailed},
		{"the endpoint refused", nil, wire.Errorf(wire.Code_GUEST, "no space"), exitFailed},
		{"no such file there", nil, wire.Errorf(wire.Code_NOT_FOUND, "no file"), exitFailed},
		{"agent lost", nil, wire.Errorf(wire.Code_LOST, "gone"), exitInfra},
		{"bad spec", nil, &lab.SpecError{Problems: []string{"x"}}, exitUsage},
		{"usage", nil, usage("no"), exitUsage},
		{"name taken", nil, fmt.Errorf("up: %w", labs.ErrRunning), exitUsage},
		{"no lab", nil, labs.ErrUnknown, exitUsage},
		{"no guest", nil, labs.ErrNoGuest, exitUsage},
		{"ours", nil, &lab.InfraError{Err: errors.New("no tap")}, exitInfra},
		{"unknown", nil, errors.New("?"), exitInfra},
		{"interrupted", interrupted, &lab.InfraError{Err: context.Canceled}, exitInterrupted},
		{"remote exit code", nil, &exitError{code: 42}, 42},
	}
	for _, tt := range tests {
		ctx := tt.ctx
		if ctx == nil {
			ctx = t.Context()
		}
		if got := exitCode(ctx, tt.err); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestParseNIC(t *testing.T) {
	tests := []struct {
		text string
		want lab.NIC
	}{
		{"e1000", lab.NIC{Model: "e1000", Link: "lan"}},
		{"virtio-net-pci,mq=on,vectors=9", lab.NIC{Model: "virtio-net-pci", Link: "lan", Options: []string{"mq=on", "vectors=9"}}},
		{"rtl8139@user", lab.NIC{Model: "rtl8139", Backend: lab.BackendUser}},
		{"e1000@vale", lab.NIC{Model: "e1000", Link: "lan", Backend: lab.BackendVale}},
		{"virtio-net-pci,packed=on@vhost-user", lab.NIC{Model: "virtio-net-pci", Link: "lan", Backend: lab.BackendVhostUser, Options: []string{"packed=on"}}},
	}
	for _, text := range []string{"e1000@netmap", "@vale", ""} {
		if n, err := parseNIC(text); err == nil {
			t.Errorf("%q is %+v", text, n)
		}
	}
	for _, tt := range tests {
		if got, err := parseNIC(tt.text); err != nil || fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %+v, %v", tt.text, got, err)
		}
	}
}

func TestSplitRemote(t *testing.T) {
	tests := []struct {
		text, endpoint, file string
		remote               bool
	}{
		{"lab/a:/tmp/x", "lab/a", "/tmp/x", true},
		{"lab/a:", "lab/a", "", true},
		{"./lab/a:/tmp/x", "", "./lab/a:/tmp/x", false},
		{"/lab/a:x", "", "/lab/a:x", false},
		{"plain", "", "plain", false},
		{"with:colon", "", "with:colon", false},
	}
	for _, tt := range tests {
		endpoint, file, remote := splitRemote(tt.text)
		if remote != tt.remote || file != tt.file || remote && endpoint != tt.endpoint {
			t.Errorf("%s: %q %q %v", tt.text, endpoint, file, remote)
		}
	}
}
