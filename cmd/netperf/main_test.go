package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"net"
	"strconv"
	"strings"
	"testing"

	"picolab/guestagent/load/netperf"
)

func TestManualIsTheDocComment(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "main.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	if f.Doc.Text() != manual {
		t.Errorf("the doc comment is\n%s\nand the manual\n%s", f.Doc.Text(), manual)
	}
}

func TestRun(t *testing.T) {
	for args, want := range map[string]string{"--help": manual, "-V": "Netperf version", "-- -k ?": "P99_LATENCY"} {
		var out bytes.Buffer
		if err := run(context.Background(), stdio{&out, &out}, strings.Fields(args)); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v\n%s", args, err, out.String())
		}
	}
	var out bytes.Buffer
	if err := run(context.Background(), stdio{&out, &out}, []string{"-N"}); !errors.Is(err, errUsage) {
		t.Errorf("-N: %v", err)
	}
	if err := run(context.Background(), stdio{&out, &out}, []string{"-H", "127.0.0.1", "-p", "1"}); err == nil || errors.Is(err, errUsage) {
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
	go func() { done <- new(netperf.Server).Serve(ctx, l) }()
	common := "-H 127.0.0.1 -p " + strconv.Itoa(l.Addr().(*net.TCPAddr).Port) + " -t TCP_RR -l -50 "
	var out bytes.Buffer
	if err := run(ctx, stdio{&out, &out}, strings.Fields(common)); err != nil || !strings.Contains(out.String(), "Trans.") {
		t.Errorf("%v\n%s", err, out.String())
	}
	out.Reset()
	if err := run(ctx, stdio{&out, &out}, strings.Fields(common+"--json")); err != nil {
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
