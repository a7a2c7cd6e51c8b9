package verbs_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/load/transfer"
	"picolab/guestagent/wire"
)

// sumOf is the SHA-256 of n bytes of content.
func sumOf(t *testing.T, seed uint64, n int64) string {
	t.Helper()
	h := sha256.New()
	_, err := io.CopyN(h, transfer.Content(seed), n)
	must(t, err)
	return hex.EncodeToString(h.Sum(nil))
}

// move sends from one endpoint to the other and checks both accounts.
func move(t *testing.T, network string, from, to *client.Client, ip netip.Addr, n int64, seed uint64) {
	t.Helper()
	ctx := t.Context()
	sink, err := to.Sink(ctx, client.SinkOptions{Network: network})
	if err != nil {
		t.Error(err)
		return
	}
	sent, err := from.Source(ctx, client.SourceOptions{Network: network, Target: netip.AddrPortFrom(ip, sink.Addr.Port()), Bytes: n, Seed: seed, Rate: rate(network)})
	if err != nil {
		t.Error(err)
	}
	got, err := sink.Wait(ctx)
	if err != nil {
		t.Error(err)
	}
	want := sumOf(t, seed, n)
	if sent.SHA256 != want || got.SHA256 != want || sent.Bytes != n || got.Bytes != n || !sent.Complete || !got.Complete || got.Lost != 0 {
		t.Errorf("%s %d bytes:\nsent %+v\ngot %+v\nwant %s", network, n, sent, got, want)
	}
}

// rate keeps UDP from overrunning a busy receiver.
func rate(network string) int64 {
	if network == "udp" {
		return 50 << 20
	}
	return 0
}

func TestTransfer(t *testing.T) {
	p := newPair(t)
	for _, network := range []string{"tcp", "udp"} {
		for _, n := range []int64{0, 1, 100_000, 16 << 20} {
			var both sync.WaitGroup
			both.Go(func() { move(t, network, p.a, p.b, p.bIP, n, 1) })
			both.Go(func() { move(t, network, p.b, p.a, p.aIP, n, 2) })
			both.Wait()
		}
	}
}

func TestTransferFiles(t *testing.T) {
	p := newPair(t)
	dir := t.TempDir()
	must(t, p.a.WriteFile(t.Context(), dir+"/in", 0, make([]byte, 3<<20)))
	sink, err := p.b.Sink(t.Context(), client.SinkOptions{Network: "tcp", Path: filepath.Join(dir, "out")})
	must(t, err)
	_, err = p.a.Source(t.Context(), client.SourceOptions{Network: "tcp", Target: netip.AddrPortFrom(p.bIP, sink.Addr.Port()), Path: dir + "/in"})
	must(t, err)
	_, err = sink.Wait(t.Context())
	must(t, err)
	if fi, err := os.Stat(dir + "/out"); err != nil || fi.Size() != 3<<20 {
		t.Errorf("%v, %v", fi, err)
	}
}

func TestTransferLoss(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sink, err := p.b.Sink(ctx, client.SinkOptions{Network: "udp", Idle: 300 * time.Millisecond})
	must(t, err)
	down := time.AfterFunc(150*time.Millisecond, func() { _ = p.b.LinkDown(context.Background(), p.bLink) })
	defer down.Stop()
	vb, err := p.b.Link(ctx, p.bLink)
	must(t, err)
	must(t, p.a.AddNeigh(ctx, p.aLink, p.bIP, vb.Mac)) // the rest of the stream goes out unseen
	sent, err := p.a.Source(ctx, client.SourceOptions{Network: "udp", Target: netip.AddrPortFrom(p.bIP, sink.Addr.Port()), Bytes: 3 << 20, Rate: 10 << 20})
	must(t, err)
	got, err := sink.Wait(ctx)
	must(t, err)
	if sent.Complete || got.Complete || got.SHA256 != "" || got.Bytes == 0 || got.Bytes >= sent.Bytes || got.End != "idle" {
		t.Errorf("sent %+v\ngot %+v", sent, got)
	}
}

func TestTransferEnds(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sink, err := p.b.Sink(ctx, client.SinkOptions{Network: "tcp", Timeout: 50 * time.Millisecond})
	must(t, err)
	if got, err := sink.Wait(ctx); err != nil || got.End != "idle" || got.Complete {
		t.Errorf("nobody came: %+v, %v", got, err)
	}
	for _, network := range []string{"tcp", "udp"} {
		sink, err = p.b.Sink(ctx, client.SinkOptions{Network: network})
		must(t, err)
		if got, err := sink.Stop(ctx); err != nil || got.End != "stop" {
			t.Errorf("%s stopped: %+v, %v", network, got, err)
		}
	}
	sctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	sink, err = p.b.Sink(sctx, client.SinkOptions{Network: "tcp"})
	must(t, err)
	if _, err := sink.Wait(sctx); wire.CodeOf(err) != wire.Code_DEADLINE {
		t.Errorf("deadline: %v", err)
	}
	if _, err := p.a.Source(ctx, client.SourceOptions{Network: "tcp", Target: netip.AddrPortFrom(p.bIP, 9), Bytes: 1}); wire.CodeOf(err) != wire.Code_GUEST {
		t.Errorf("refused: %v (%v)", err, wire.CodeOf(err))
	}
}

// TestSourceIsCancelled ends a transfer in the middle, when the sink's progress shows that it is; both ends let go.
func TestSourceIsCancelled(t *testing.T) {
	p := newPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sink, err := p.b.Sink(t.Context(), client.SinkOptions{Network: "tcp", Every: 20 * time.Millisecond, OnProgress: func(f client.Transfer) {
		if f.Bytes > 0 {
			cancel()
		}
	}})
	must(t, err)
	source := make(chan error, 1)
	var told atomic.Int64
	go func() {
		_, err := p.a.Source(ctx, client.SourceOptions{Network: "tcp", Target: netip.AddrPortFrom(p.bIP, sink.Addr.Port()), Bytes: 1 << 40,
			Rate: 1 << 20, Every: 20 * time.Millisecond, OnProgress: func(f client.Transfer) { told.Store(f.Bytes) }})
		source <- err
	}()
	got, err := sink.Wait(t.Context())
	must(t, err)
	if err := <-source; !errors.Is(err, context.Canceled) {
		t.Errorf("source: %v", err)
	}
	if got.Bytes == 0 || got.Bytes > 1<<30 || got.Complete || got.SHA256 != "" {
		t.Errorf("%+v, %d bytes told", got, told.Load())
	}
}
