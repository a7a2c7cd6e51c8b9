package getopt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// play, in the environment, has this program be a command that fails so.
const play = "GETOPT_TEST_PLAY"

func TestMain(m *testing.M) {
	switch how := os.Getenv(play); how {
	case "":
		os.Exit(m.Run())
	case "well":
		Main("play", func(context.Context, []string) error { return nil })
	case "usage":
		Main("play", func(_ context.Context, args []string) error { return fmt.Errorf("%q; %w", args, ErrUsage) })
	case "failure":
		Main("play", func(context.Context, []string) error { return errors.New("no luck") })
	}
}

func TestExit(t *testing.T) {
	for how, want := range map[string]string{
		"well": "0 ", "usage": "2 play: [\"word\"]; see --help\n", "failure": "1 play: no luck\n",
	} {
		cmd := exec.Command("/proc/self/exe", "word")
		cmd.Env = append(os.Environ(), play+"="+how)
		said, _ := cmd.CombinedOutput()
		if got := fmt.Sprint(cmd.ProcessState.ExitCode(), " ", string(said)); got != want {
			t.Errorf("%s: %q, want %q", how, got, want)
		}
	}
}
