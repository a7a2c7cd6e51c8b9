package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"net"
	"regexp"
	"testing"
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
	var out bytes.Buffer
	if err := run(context.Background(), stdio{&out, &out}, []string{"--help"}); err != nil || out.String() != manual {
		t.Errorf("--help: %v", err)
	}
	if err := run(context.Background(), stdio{&out, &out}, []string{"-Q"}); !errors.Is(err, errUsage) {
		t.Errorf("-Q: %v", err)
	}
	if err := run(context.Background(), stdio{&out, &out}, []string{"-L", "192.0.2.1", "-p", "0"}); err == nil {
		t.Error("address of another machine: no error")
	}
}

func TestServesUntilItIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan error)
	go func() { done <- run(ctx, stdio{w, io.Discard}, []string{"-D", "-p", "0", "-L", "127.0.0.1"}) }()
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
