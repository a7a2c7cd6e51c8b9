// Package archivetest makes small signed Debian archives for tests, serves them, and attacks those who read them. Keys
// are made on the spot; nothing in it is a secret.
package archivetest

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/ulikunitz/xz"
)

// A Key signs archives.
type Key struct{ *openpgp.Entity }

// NewKey makes an Ed25519 key that exists since a year.
func NewKey(t testing.TB) Key {
	t.Helper()
	return newKeyAt(t, time.Now().AddDate(-1, 0, 0), 0)
}

// ExpiredKey makes a key that was valid for one day, a year ago.
func ExpiredKey(t testing.TB) Key {
	t.Helper()
	return newKeyAt(t, time.Now().AddDate(-1, 0, 0), 24*time.Hour)
}

func newKeyAt(t testing.TB, made time.Time, lifetime time.Duration) Key {
	t.Helper()
	e, err := openpgp.NewEntity("Archive", "test", "archive@example.invalid", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return made }, KeyLifetimeSecs: uint32(lifetime / time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	return Key{e}
}

// Keyring writes the public halves of keys to a file and returns its path.
func Keyring(t testing.TB, keys ...Key) string {
	t.Helper()
	var b bytes.Buffer
	for _, k := range keys {
		if err := k.Serialize(&b); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "keyring.gpg")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// Sign returns the clear-signed form of a text; config may be nil.
func Sign(t testing.TB, text string, config *packet.Config, keys ...Key) []byte {
	t.Helper()
	var private []*packet.PrivateKey
	for _, k := range keys {
		private = append(private, k.PrivateKey)
	}
	var b bytes.Buffer
	w, err := clearsign.EncodeMulti(&b, private, config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}

// A Package is one entry of a suite. Its .deb is the text "deb NAME VERSION" unless Content says otherwise.
type Package struct {
	Name, Version string
	Fields        string // more lines, e.g. "Depends: libc6\n"
	Content       []byte
	Raw           string // replaces the whole stanza
}

func (p Package) content() []byte {
	if p.Content != nil {
		return p.Content
	}
	return []byte("deb " + p.Name + " " + p.Version)
}

// Filename returns where the .deb is, relative to the archive.
func (p Package) Filename() string {
	return fmt.Sprintf("pool/main/%s/%s_%s_amd64.deb", p.Name, p.Name, strings.ReplaceAll(p.Version, ":", ""))
}

// Stanza returns the entry of the Packages index.
func (p Package) Stanza() string {
	if p.Raw != "" {
		return p.Raw
	}
	return fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\n%sFilename: %s\nSize: %d\nSHA256: %x\n",
		p.Name, p.Version, p.Fields, p.Filename(), len(p.content()), sha256.Sum256(p.content()))
}

// A Suite is one dists/NAME of an archive.
type Suite struct {
	Name       string
	Path       string // of the archive on its server, e.g. "debian-security"; "" is "debian"
	Date       time.Time
	ValidUntil time.Time // zero: not stated
	Packages   []Package
	NoByHash   bool

	// Edit changes the Release's text before it is signed.
	Edit func(string) string
	// Config is used for the signature.
	Config *packet.Config
}

func (s Suite) root() string {
	if s.Path == "" {
		return "/debian"
	}
	return "/" + s.Path
}

// Index returns the text of main's Packages.
func (s Suite) Index() string {
	var stanzas []string
	for _, p := range s.Packages {
		stanzas = append(stanzas, p.Stanza())
	}
	return strings.Join(stanzas, "\n")
}

// Release returns the text that gets signed.
func (s Suite) Release() string {
	index := []byte(s.Index())
	packed := Compress(index)
	var b strings.Builder
	fmt.Fprintf(&b, "Origin: Test\nSuite: %s\nCodename: %s\nDate: %s\n", "stable-"+s.Name, s.Name, s.Date.UTC().Format(dateFormat))
	if !s.ValidUntil.IsZero() {
		fmt.Fprintf(&b, "Valid-Until: %s\n", s.ValidUntil.UTC().Format(dateFormat))
	}
	if !s.NoByHash {
		b.WriteString("Acquire-By-Hash: yes\n")
	}
	b.WriteString("Architectures: all amd64\nComponents: main\nMD5Sum:\n")
	fmt.Fprintf(&b, " %x %d main/binary-amd64/Packages\n", md5.Sum(index), len(index))
	b.WriteString("SHA256:\n")
	fmt.Fprintf(&b, " %x %d main/binary-amd64/Packages\n", sha256.Sum256(index), len(index))
	fmt.Fprintf(&b, " %x %d main/binary-amd64/Packages.xz\n", sha256.Sum256(packed), len(packed))
	if s.Edit != nil {
		return s.Edit(b.String())
	}
	return b.String()
}

const dateFormat = "Mon, 02 Jan 2006 15:04:05 UTC"

// Compress returns the .xz of data.
func Compress(data []byte) []byte {
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // cannot happen: the target is memory
	}
	return b.Bytes()
}

// Files returns every file of the suite by its path on the server.
func (s Suite) Files(t testing.TB, keys ...Key) map[string][]byte {
	t.Helper()
	packed := Compress([]byte(s.Index()))
	dir := s.root() + "/dists/" + s.Name
	files := map[string][]byte{dir + "/InRelease": Sign(t, s.Release(), s.Config, keys...)}
	if s.NoByHash {
		files[dir+"/main/binary-amd64/Packages.xz"] = packed
	} else {
		files[fmt.Sprintf("%s/main/binary-amd64/by-hash/SHA256/%x", dir, sha256.Sum256(packed))] = packed
	}
	for _, p := range s.Packages {
		files[s.root()+"/"+p.Filename()] = p.content()
	}
	return files
}

// A Mirror serves files over HTTP, and misbehaves on request.
type Mirror struct {
	URL string // of the archive "debian"

	mu       sync.Mutex
	files    map[string][]byte
	handlers map[string]http.HandlerFunc
	asked    []string
}

// NewMirror starts an empty mirror that ends with the test.
func NewMirror(t testing.TB) *Mirror {
	t.Helper()
	m := &Mirror{files: map[string][]byte{}, handlers: map[string]http.HandlerFunc{}}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	m.URL = server.URL + "/debian"
	return m
}

// Put adds or replaces the files of a suite.
func (m *Mirror) Put(t testing.TB, s Suite, keys ...Key) {
	t.Helper()
	files := s.Files(t, keys...)
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.Copy(m.files, files)
}

// Set replaces one file; nil data removes it.
func (m *Mirror) Set(file string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[file] = data
	if data == nil {
		delete(m.files, file)
	}
}

// Handle answers one path with a function.
func (m *Mirror) Handle(file string, h http.HandlerFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handlers[file] = h
}

// Find returns the one path that matches a pattern of path.Match.
func (m *Mirror) Find(t testing.TB, pattern string) string {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, file := range slices.Sorted(maps.Keys(m.files)) {
		if ok, _ := path.Match(pattern, file); ok {
			return file
		}
	}
	t.Fatalf("the mirror has nothing like %s", pattern)
	return ""
}

// Get returns the file of a path.
func (m *Mirror) Get(file string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files[file]
}

// Asked returns the paths of all requests so far.
func (m *Mirror) Asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.asked)
}

func (m *Mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.asked = append(m.asked, r.URL.Path)
	data, ok := m.files[r.URL.Path]
	h := m.handlers[r.URL.Path]
	m.mu.Unlock()
	switch {
	case h != nil:
		h(w, r)
	case ok:
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	default:
		http.NotFound(w, r)
	}
}
