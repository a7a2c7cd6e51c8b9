package netperf

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"picolab/guestagent/load/getopt"
)

// TestManuals names every option that is taken.
func TestManuals(t *testing.T) {
	for manual, options := range map[string][]getopt.Option{
		Manual(): append(newOptions().global(), newOptions().test()...), ServerManual(): new(ServerOptions).flags(),
	} {
		for _, o := range options {
			if o.Help != "" && o.Name != 0 && !strings.Contains(manual, "\n\t-"+string(o.Name)) {
				t.Errorf("-%c is not in\n%s", o.Name, manual)
			}
		}
		for line := range strings.Lines(manual) {
			if len(line) > 96 || strings.HasSuffix(line, " \n") {
				t.Errorf("line %q", line)
			}
		}
	}
}

func TestMainCommand(t *testing.T) {
	for args, want := range map[string]string{"--help": Manual(), "-V": "Netperf version", "-- -k ?": "P99_LATENCY"} {
		var out bytes.Buffer
		if err := Main(context.Background(), Stdio{&out, &out}, strings.Fields(args)); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v\n%s", args, err, out.String())
		}
	}
	var out bytes.Buffer
	if err := Main(context.Background(), Stdio{&out, &out}, []string{"-N"}); !errors.Is(err, getopt.ErrUsage) {
		t.Errorf("-N: %v", err)
	}
	if err := Main(context.Background(), Stdio{&out, &out}, []string{"-H", "127.0.0.1", "-p", "1"}); err == nil || errors.Is(err, getopt.ErrUsage) {
		t.Errorf("no server: %v", err)
	}
}

func TestAgainstAServer(t *testing.T) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- new(Server).Serve(ctx, l) }()
	common := "-H 127.0.0.1 -p " + strconv.Itoa(l.Addr().(*net.TCPAddr).Port) + " -t TCP_RR -l -50 "
	var out bytes.Buffer
	if err := Main(ctx, Stdio{&out, &out}, strings.Fields(common)); err != nil || !strings.Contains(out.String(), "Trans.") {
		t.Errorf("%v\n%s", err, out.String())
	}
	out.Reset()
	if err := Main(ctx, Stdio{&out, &out}, strings.Fields(common+"--json")); err != nil {
		t.Error(err)
	}
	var doc struct{ Transactions int }
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil || doc.Transactions != 50 {
		t.Errorf("%v, %+v of\n%s", err, doc, out.String())
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestServerMain(t *testing.T) {
	var out bytes.Buffer
	if err := ServerMain(context.Background(), Stdio{&out, &out}, []string{"--help"}); err != nil || out.String() != ServerManual() {
		t.Errorf("--help: %v", err)
	}
	if err := ServerMain(context.Background(), Stdio{&out, &out}, []string{"-Q"}); !errors.Is(err, getopt.ErrUsage) {
		t.Errorf("-Q: %v", err)
	}
	if err := ServerMain(context.Background(), Stdio{&out, &out}, []string{"-L", "192.0.2.1", "-p", "0"}); err == nil {
		t.Error("address of another machine: no error")
	}
}

func TestServesUntilItIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan error)
	go func() { done <- ServerMain(ctx, Stdio{w, io.Discard}, []string{"-D", "-p", "0", "-L", "127.0.0.1"}) }()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`127\.0\.0\.1:[0-9]+`).FindString(line)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	defer conn.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("end: %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("client still served")
	}
}
