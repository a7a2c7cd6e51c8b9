package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// content returns n bytes that depend on the seed.
func content(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

func itemOf(url string, data []byte) Item {
	return Item{Name: "test", URL: url, Size: int64(len(data)), SHA256: fmt.Sprintf("%x", sha256.Sum256(data))}
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL + "/file"
}

func serveData(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// finals returns the files under final names.
func finals(t *testing.T, s *Store) (out []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.dir, "sha256"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFetch(t *testing.T) {
	data := content(1, 300_000)
	var hits atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) { hits.Add(1); serveData(data)(w, r) })
	s, item := open(t), itemOf(url, data)
	for range 2 { // the second time nothing is asked for
		if err := s.Fetch(context.Background(), []Item{item, item}, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if hits.Load() != 1 {
		t.Errorf("%d requests, want 1", hits.Load())
	}
	f, err := s.Blob(item.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the blob differs (%v)", err)
	}
	if !s.Has(item.SHA256, item.Size) || s.Has(item.SHA256, item.Size+1) || s.Has("../x", 1) || s.Has("a", 1) {
		t.Error("Has is wrong")
	}
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if parts, _ := os.ReadDir(filepath.Join(s.dir, "part")); len(parts) != 0 {
		t.Errorf("parts left: %v", parts)
	}
}

func TestFetchIsParallelAndBounded(t *testing.T) {
	for jobs, want := range map[int]int32{0: defaultJobs, 1: 1, 3: 3} {
		if got := mostAtOnce(t, jobs); got != want {
			t.Errorf("%d jobs: %d at a time, want %d", jobs, got, want)
		}
	}
}

// mostAtOnce fetches twelve files and returns how many requests were open at the same time at most.
func mostAtOnce(t *testing.T, jobs int) int32 {
	t.Helper()
	var mu sync.Mutex
	var now, most int32
	count := func(n int32) {
		mu.Lock()
		defer mu.Unlock()
		now += n
		most = max(most, now)
	}
	var items []Item
	byPath := map[string][]byte{}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		count(1)
		time.Sleep(20 * time.Millisecond)
		count(-1)
		serveData(byPath[r.URL.Path])(w, r)
	})
	for i := range 12 {
		data := content(uint64(i), 1000)
		byPath[fmt.Sprintf("/file%d", i)] = data
		items = append(items, itemOf(fmt.Sprintf("%s%d", url, i), data))
	}
	if err := open(t).Fetch(context.Background(), items, Options{Jobs: jobs}); err != nil {
		t.Fatal(err)
	}
	return most
}

// TestFetchResumes cuts the first answer in the middle: the second must ask for the rest only.
func TestFetchResumes(t *testing.T) {
	t.Run("connection lost", func(t *testing.T) {
		testResume(t, func(w http.ResponseWriter, data []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.Write(data[:60_000])
			panic(http.ErrAbortHandler)
		})
	})
	t.Run("proxy that hides the cut", func(t *testing.T) {
		testResume(t, func(w http.ResponseWriter, data []byte) {
			w.Write(data[:60_000])
			w.(http.Flusher).Flush() // chunked: the answer looks complete
		})
	})
}

func testResume(t *testing.T, cut func(w http.ResponseWriter, data []byte)) {
	data := content(2, 100_000)
	var ranges []string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if ranges = append(ranges, r.Header.Get("Range")); len(ranges) == 1 {
			cut(w, data)
			return
		}
		serveData(data)(w, r)
	})
	s, item := open(t), itemOf(url, data)
	if err := s.Fetch(context.Background(), []Item{item}, Options{}); err != nil {
		t.Fatal(err)
	}
	if len(ranges) != 2 || ranges[0] != "" || !strings.HasPrefix(ranges[1], "bytes=") || ranges[1] == "bytes=0-" {
		t.Errorf("ranges %q", ranges)
	}
	if !s.Has(item.SHA256, item.Size) {
		t.Error("not stored")
	}
}

// putPart makes what an interrupted run leaves.
func putPart(t *testing.T, s *Store, item Item, data []byte) {
	t.Helper()
	if err := os.WriteFile(s.part(item.SHA256), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFetchWithPart(t *testing.T) {
	data := content(3, 50_000)
	noRanges := func(w http.ResponseWriter, r *http.Request) { w.Write(data) }
	lying := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "" {
			w.Write(data)
			return
		}
		w.Header().Set("Content-Range", "bytes 7-49999/50000") // not what was asked for
		w.WriteHeader(http.StatusPartialContent)
		w.Write(data[7:])
	}
	for name, c := range map[string]struct {
		part    []byte
		handler http.HandlerFunc
	}{
		"good beginning":        {data[:20_000], serveData(data)},
		"whole":                 {data, func(http.ResponseWriter, *http.Request) { t.Error("asked for a complete file") }},
		"bad beginning":         {content(4, 20_000), serveData(data)},
		"bad whole":             {content(4, 50_000), serveData(data)},
		"too long":              {append(bytes.Clone(data), 1), serveData(data)},
		"server without ranges": {data[:20_000], noRanges},
		"server lies":           {data[:20_000], lying},
	} {
		t.Run(name, func(t *testing.T) {
			s, item := open(t), itemOf(serve(t, c.handler), data)
			putPart(t, s, item, c.part)
			if err := s.Fetch(context.Background(), []Item{item}, Options{}); err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(context.Background(), item.SHA256); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFetchRefuses(t *testing.T) {
	data := content(5, 10_000)
	other := bytes.Clone(data)
	other[5000] ^= 1
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(data); err != nil {
				return
			}
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"wrong hash": {serveData(other), "SHA-256"},
		"too short":  {serveData(data[:9999]), "has 9999 bytes, expected 10000"},
		"too long":   {serveData(append(bytes.Clone(data), 0)), "has 10001 bytes, expected 10000"},
		"endless":    {endless, "more than the expected 10000 bytes"},
		"forbidden":  {status(403), "403"},
		"gone":       {status(410), "does not have"},
		"not found":  {status(404), "does not have"},
	} {
		t.Run(name, func(t *testing.T) {
			s, item := open(t), itemOf(serve(t, c.handler), data)
			err := s.Fetch(context.Background(), []Item{item}, Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			var gone *GoneError
			if errors.As(err, &gone) != (c.want == "does not have") {
				t.Errorf("GoneError: %v", err)
			}
			if left := finals(t, s); len(left) != 0 {
				t.Errorf("stored: %v", left)
			}
			if _, err := os.Stat(s.part(item.SHA256)); gone != nil && err == nil {
				t.Error("a part of what is gone was left")
			}
		})
	}
}

func TestFetchRefusesBadItems(t *testing.T) {
	good := itemOf("http://127.0.0.1:1/x", []byte("x"))
	for _, c := range []struct {
		change func(*Item)
		want   string
	}{
		{func(i *Item) { i.SHA256 = "../../etc/passwd" }, "is not a SHA-256"},
		{func(i *Item) { i.SHA256 = strings.ToUpper(i.SHA256) + "A" }, "is not a SHA-256"},
		{func(i *Item) { i.Size = -1 }, "size -1"},
		{func(i *Item) { i.URL = "file:///etc/passwd" }, "is not an http or https URL"},
		{func(i *Item) { i.URL = "/x" }, "is not an http or https URL"},
		{func(i *Item) { i.URL = "http:///x" }, "is not an http or https URL"},
	} {
		item := good
		c.change(&item)
		if err := open(t).Fetch(context.Background(), []Item{item}, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want one with %q", item, err, c.want)
		}
	}
}

func TestCheckRedirect(t *testing.T) {
	for _, c := range []struct {
		from, to string
		hops     int
		want     bool
	}{
		{"http", "http", 1, true}, {"http", "https", 1, true}, {"https", "https", redirects, true},
		{"https", "http", 1, false}, {"http", "file", 1, false}, {"http", "http", redirects + 1, false},
	} {
		via := make([]*http.Request, c.hops)
		for i := range via {
			via[i] = httptest.NewRequest(http.MethodGet, c.from+"://a.example/", nil)
		}
		to := httptest.NewRequest(http.MethodGet, c.to+"://b.example/", nil)
		if err := checkRedirect(to, via); (err == nil) != c.want {
			t.Errorf("%+v: %v", c, err)
		}
	}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	if _, err := Get(context.Background(), "x", url, 10, nil); err == nil || strings.Contains(err.Error(), "tried") {
		t.Errorf("a refused redirect is final, but: %v", err)
	}
}

// TestFetchRetries: two failures of the server's, then success.
func TestFetchRetries(t *testing.T) {
	data := content(6, 1000)
	var hits atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if hits.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		serveData(data)(w, r)
	})
	var log bytes.Buffer
	if err := open(t).Fetch(context.Background(), []Item{itemOf(url, data)}, Options{Progress: NewProgress(&log)}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(log.String(), "again in"); got != 2 {
		t.Errorf("%d retries told of in\n%s", got, log.String())
	}
	if !strings.HasSuffix(log.String(), "MB/s\n") || strings.Contains(log.String(), "\r") || strings.Contains(log.String(), "\x1b") {
		t.Errorf("not plain lines:\n%q", log.String())
	}
}

func TestFetchCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("had enough")
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Write(make([]byte, 500))
		w.(http.Flusher).Flush()
		cancel(reason)
		<-r.Context().Done()
	})
	s := open(t)
	if err := s.Fetch(ctx, []Item{itemOf(url, content(7, 1000))}, Options{}); !errors.Is(err, reason) {
		t.Errorf("error %v", err)
	}
	if len(finals(t, s)) != 0 {
		t.Error("something was stored")
	}
}

// TestTwoStores is two processes on one folder, as far as locks go: flock(2) is by open file. Each file is loaded once.
func TestTwoStores(t *testing.T) {
	data := content(8, 200_000)
	var hits atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		time.Sleep(100 * time.Millisecond)
		serveData(data)(w, r)
	})
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := Open(dir)
			if err == nil {
				err = s.Fetch(context.Background(), []Item{itemOf(url, data)}, Options{})
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if hits.Load() != 1 {
		t.Errorf("%d requests, want 1", hits.Load())
	}
}

func TestVerifyRemovesDamage(t *testing.T) {
	data := content(9, 1000)
	s, item := open(t), itemOf("", data)
	item.URL = serve(t, serveData(data))
	if err := s.Fetch(context.Background(), []Item{item}, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.path(item.SHA256), 0o644); err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(data)
	bad[0] ^= 1
	if err := os.WriteFile(s.path(item.SHA256), bad, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(context.Background(), item.SHA256); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("error %v", err)
	}
	if s.Has(item.SHA256, item.Size) {
		t.Error("the damaged file is still there")
	}
	if err := s.Fetch(context.Background(), []Item{item}, Options{}); err != nil || s.Verify(context.Background(), item.SHA256) != nil {
		t.Errorf("not healed: %v", err)
	}
}

func TestOpenSweepsOldParts(t *testing.T) {
	s := open(t)
	old, young, held := itemOf("", []byte("a")), itemOf("", []byte("b")), itemOf("", []byte("c"))
	for _, item := range []Item{old, young, held} {
		putPart(t, s, item, []byte("x"))
	}
	ago := time.Now().Add(-2 * staleAfter)
	for _, item := range []Item{old, held} {
		if err := os.Chtimes(s.part(item.SHA256), ago, ago); err != nil {
			t.Fatal(err)
		}
	}
	f, err := lockPart(context.Background(), s.part(held.SHA256))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Open(s.dir); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		item Item
		want bool
	}{"old": {old, false}, "young": {young, true}, "held": {held, true}} {
		if _, err := os.Stat(s.part(c.item.SHA256)); (err == nil) != c.want {
			t.Errorf("%s part: there %v, want %v", name, err == nil, c.want)
		}
	}
}

func TestOpenDefault(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PICOLAB_CACHE", filepath.Join(dir, "a"))
	if s, err := Open(""); err != nil || s.Path() != filepath.Join(dir, "a") {
		t.Errorf("store %+v, %v", s, err)
	}
	t.Setenv("PICOLAB_CACHE", "")
	t.Setenv("XDG_CACHE_HOME", dir)
	s, err := Open("")
	if err != nil || s.Path() != filepath.Join(dir, "picolab") {
		t.Errorf("store %+v, %v", s, err)
	}
	if d, err := s.Dir("deb", "v1"); err != nil || d != filepath.Join(dir, "picolab", "deb", "v1") {
		t.Errorf("dir %s, %v", d, err)
	}
	if _, err := s.Dir("..", "x"); err == nil {
		t.Error("a folder outside of the store was made")
	}
}

func TestGet(t *testing.T) {
	url := serve(t, serveData([]byte("hello")))
	if data, err := Get(context.Background(), "x", url, 5, nil); err != nil || string(data) != "hello" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := Get(context.Background(), "x", url, 4, nil); err == nil {
		t.Error("more than the limit was read")
	}
}
