package vhostuser

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/internal/frontend"
	"picolab/hostctl/vhostuser/internal/leak"
	"picolab/hostctl/vhostuser/virtq"
)

// inflightPayload encodes a struct of the inflight messages.
func inflightPayload(size, offset uint64, queues, entries uint16) []byte {
	b := binary.LittleEndian.AppendUint64(nil, size)
	b = binary.LittleEndian.AppendUint64(b, offset)
	b = binary.LittleEndian.AppendUint16(b, queues)
	b = binary.LittleEndian.AppendUint16(b, entries)
	return append(b, 0, 0, 0, 0)
}

// again is a front-end that is left by its back-end, and comes back with all that it knows: not where the packed ring is.
func (s *packedSession) again(t *testing.T, path string, before func(*packedSession)) *packedSession {
	t.Helper()
	_ = s.Close()
	n := &packedSession{Conn: frontend.Dial(t, path), mem: s.mem, ring: s.ring}
	n.Negotiate(testFeatures | virtq.FeaturePacked)
	n.Share(s.mem)
	before(n)
	n.kick, n.call = n.Start(0, s.ring, virtq.PackedBase)
	return n
}

// TestInflight: the region that the front-end keeps tells a successor where a packed ring is, chains and all.
func TestInflight(t *testing.T) {
	path := startServer(t, newEchoDevice())
	s := newPackedSession(t, path)
	s.Stop(0)
	reply, fd := s.CallFD(31, inflightPayload(0, 0, 2, 16))
	var st unix.Stat_t
	size := u64At(reply)
	if err := unix.Fstat(fd, &st); err != nil || uint64(st.Size) != size || len(reply) != 24 || u64At(reply[8:]) != 0 {
		t.Fatalf("region of %d bytes, reply %x, %v", st.Size, reply, err)
	}
	region, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(region)
	s.kick, s.call = s.Start(0, s.ring, s.ring.Base())
	for i := range 40 {
		s.echo(t, "in flight")
		if i%7 == 3 {
			s = s.again(t, path, func(n *packedSession) { n.Do(32, inflightPayload(size, 0, 2, 16), region) })
		}
	}
}

// TestCVE_2021_3839: counts of an inflight message are checked before they are used, and nothing stays of it.
func TestCVE_2021_3839(t *testing.T) {
	s := newSession(t, startServer(t, newEchoDevice()))
	if s.Try(32, inflightPayload(4096, 0, 2, 16), s.mem.FD) == 0 {
		t.Error("region taken while a ring runs")
	}
	s.Stop(0)
	before := leak.Now()
	for name, p := range map[string][]byte{
		"no queues": inflightPayload(4096, 0, 0, 16), "too many queues": inflightPayload(4096, 0, 3, 16),
		"65535 queues": inflightPayload(1<<40, 0, 0xffff, 0xffff), "no entries": inflightPayload(4096, 0, 2, 0),
		"too many entries": inflightPayload(1<<40, 0, 2, 0x8001), "region too small": inflightPayload(64, 0, 2, 16),
		"file too small": inflightPayload(1<<40, 1<<20, 2, 16), "overflow": inflightPayload(1<<40, ^uint64(0)-63, 2, 16),
		"short message": inflightPayload(4096, 0, 0xffff, 16)[:20],
	} {
		if s.Try(32, p, s.mem.FD) == 0 {
			t.Errorf("%s: accepted", name)
		}
	}
	if s.Try(32, inflightPayload(4096, 0, 2, 16)) == 0 {
		t.Error("accepted without descriptor")
	}
	for range 3 {
		s.Do(32, inflightPayload(8192, 0, 2, 16), s.mem.FD)
	}
	s.Do(34, nil) // forgets it
	if now := leak.Now(); now.FDs != before.FDs || now.Mappings != before.Mappings {
		t.Errorf("%+v before, %+v after", before, now)
	}
}

// TestPlaces: a file tells the next process where packed rings are, unless the front-end began anew.
func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	opt := Options{Places: filepath.Join(dir, "places")}
	serve := func() (path string, stop func()) {
		path = filepath.Join(dir, "vhost")
		srv, err := Listen(path, newEchoDevice(), opt)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- srv.Serve(context.Background()) }()
		return path, func() {
			_ = srv.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	path, stop := serve()
	s := newPackedSession(t, path)
	for range 3 {
		for range 11 {
			s.echo(t, "placed")
		}
		stop() // without a word to the front-end
		path, stop = serve()
		s = s.again(t, path, func(*packedSession) {})
	}
	s.echo(t, "once more")
	clear(s.mem.Mem) // another guest, at the same addresses
	s.mem.Reset()
	s.ring = frontend.NewPacked(s.mem, 16)
	s = s.again(t, path, func(*packedSession) {})
	s.echo(t, "from the beginning")
	stop()
	if st, err := os.Stat(opt.Places); err != nil || st.Size() != 2*recordSize {
		t.Errorf("%v, %v", st, err)
	}
	opt.Places = filepath.Join(dir, "nowhere", "places")
	srv, err := Listen(path, newEchoDevice(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if srv.Serve(context.Background()) == nil {
		t.Error("serves without the file")
	}
}

// TestConfigChanged sends the front-end a request, if it has a channel for them.
func TestConfigChanged(t *testing.T) {
	srv := newServer("", newEchoDevice(), Options{})
	if err := srv.ConfigChanged(); err != ErrNoChannel {
		t.Errorf("without a front-end: %v", err)
	}
	ours, theirs := socketPair(t)
	done := make(chan struct{})
	go func() { defer close(done); srv.serve(ours) }()
	c := frontend.Over(t, theirs)
	c.Negotiate(0)
	if err := srv.ConfigChanged(); err != ErrNoChannel {
		t.Errorf("without a channel: %v", err)
	}
	in, out := socketPair(t)
	f, err := out.File()
	if err != nil {
		t.Fatal(err)
	}
	c.Do(21, nil, int(f.Fd()))
	_, _ = f.Close(), out.Close()
	if err := srv.ConfigChanged(); err != nil {
		t.Error(err)
	}
	var b [64]byte
	if n, err := in.Read(b[:]); err != nil || string(b[:n]) != string(frontend.Encode(2, 0, nil)) {
		t.Errorf("%x, %v", b[:n], err)
	}
	for range 10000 { // a front-end that reads nothing holds up nobody
		if err = srv.ConfigChanged(); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("a full channel goes unnoticed")
	}
	_, _ = in.Close(), c.Close()
	<-done
}
