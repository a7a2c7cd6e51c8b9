package deb

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"picolab/initramfs/tree"
)

// hostile is a package that must be refused, for the reason given.
type hostile struct {
	name string
	data []byte
	want string // part of the error
	opt  Options
}

// small limits let bombs be small too.
var small = Options{Limits: Limits{Bytes: 1 << 20, Entries: 100, Control: 1 << 16}}

func hostilePaths(t testing.TB) []hostile {
	return []hostile{
		{name: "parent", data: of(t, file("../evil", "x")), want: "not clean"},
		{name: "parent after dot", data: of(t, file("./../evil", "x")), want: "not clean"},
		{name: "parent inside", data: of(t, file("./a/../../evil", "x")), want: "not clean"},
		{name: "parent folder", data: of(t, typed(tar.TypeDir, "../", "")), want: "not clean"},
		{name: "parent at the end", data: of(t, typed(tar.TypeDir, "./a/..", "")), want: "not clean"},
		{name: "absolute", data: of(t, file("/etc/evil", "x")), want: "not clean"},
		{name: "absolute behind dot", data: of(t, file(".//etc/evil", "x")), want: "not clean"},
		{name: "root", data: of(t, typed(tar.TypeDir, "/", "")), want: "absolute"},
		{name: "empty component", data: of(t, file("./a//b", "x")), want: "not clean"},
		{name: "dot component", data: of(t, file("./a/./b", "x")), want: "not clean"},
		{name: "long component", data: of(t, file("./"+strings.Repeat("n", 256), "x")), want: "not clean"},
		{name: "long path", data: of(t, file("./"+strings.Repeat("abcdefg/", 600)+"x", "x")), want: "too long"},
		{name: "write through link", data: of(t, typed(tar.TypeSymlink, "./d", "/etc"), file("./d/passwd", "x")), want: "conflict at d"},
		{name: "write through deep link", data: of(t, typed(tar.TypeSymlink, "./a/d", ".."), file("./a/d/e/f", "x")), want: "conflict at a/d"},
		{name: "folder over link", data: of(t, typed(tar.TypeSymlink, "./d", "/etc"), typed(tar.TypeDir, "./d/", "")), want: "twice"},
		{name: "link over folder", data: of(t, typed(tar.TypeDir, "./d/", ""), typed(tar.TypeSymlink, "./d", "/etc")), want: "twice"},
		{name: "link over implied folder", data: of(t, file("./d/x", "x"), typed(tar.TypeSymlink, "./d", "/etc")), want: "conflict at d"},
		{name: "file below file", data: of(t, file("./f", "x"), file("./f/g", "x")), want: "conflict at f"},
		{name: "file over folder", data: of(t, file("./d/x", "x"), file("./d", "x")), want: "conflict at d"},
		{name: "duplicate", data: of(t, file("./f", "x"), file("./f", "y")), want: "twice"},
		{name: "identical duplicate", data: of(t, file("./f", "x"), file("f", "x")), want: "twice"},
		{name: "merged duplicate", data: of(t, file("./lib/f", "x"), file("./usr/lib/f", "x")), want: "twice", opt: Options{UsrMerge: true}},
	}
}

func hostileTypes(t testing.TB) []hostile {
	link := func(target string) []byte {
		return of(t, file("./f", "x"), typed(tar.TypeSymlink, "./s", "f"), typed(tar.TypeDir, "./d/", ""), typed(tar.TypeLink, "./h", target), file("./later", "x"))
	}
	sparse := file("./f", "")
	sparse.PAXRecords = map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "f", "GNU.sparse.realsize": "1099511627776"}
	owner := file("./f", "x")
	owner.Uid = 1 << 33
	huge := patched(archive(t, file("./f", "x")), func(b []byte) { copy(b[124:136], "\x80\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00") })
	return []hostile{
		{name: "hard link absolute", data: link("/etc/passwd"), want: "not clean"},
		{name: "hard link to parent", data: link("../../etc/passwd"), want: "not clean"},
		{name: "hard link to nothing", data: link("./nothing"), want: "no file met before"},
		{name: "hard link forward", data: link("./later"), want: "no file met before"},
		{name: "hard link to link", data: link("./s"), want: "no file met before"},
		{name: "hard link to folder", data: link("./d"), want: "no file met before"},
		{name: "hard link to the root", data: link("./"), want: "no file met before"},
		{name: "character device", data: of(t, typed(tar.TypeChar, "./dev/mem", "")), want: "neither"},
		{name: "block device", data: of(t, typed(tar.TypeBlock, "./dev/sda", "")), want: "neither"},
		{name: "fifo", data: of(t, typed(tar.TypeFifo, "./fifo", "")), want: "neither"},
		{name: "contiguous file", data: of(t, typed(tar.TypeCont, "./f", "")), want: "neither"},
		{name: "unknown type", data: pkg(t, "data.tar", patched(archive(t, file("./f", "x")), func(b []byte) { b[156] = 'Q' })), want: "neither"},
		{name: "symlink to nothing", data: of(t, typed(tar.TypeSymlink, "./s", "")), want: "link target"},
		{name: "sparse file of 1 TiB", data: pkg(t, "data.tar", sparseTar(t)), want: ""},
		{name: "owner out of range", data: of(t, owner), want: "out of range"},
		{name: "size of 1 TiB", data: pkg(t, "data.tar", huge), want: "bytes allowed"},
		{name: "too many entries", data: of(t, many(101)...), want: "more than 100 entries", opt: small},
		{name: "files over the limit", data: of(t, file("./a", strings.Repeat("x", 1<<19)), file("./b", strings.Repeat("y", 1<<19+1))), want: "bytes allowed", opt: small},
	}
}

// sparseTar is an old GNU sparse header (type S) that claims 1 TiB.
func sparseTar(t testing.TB) []byte {
	return patched(archive(t, file("./f", "")), func(b []byte) {
		b[156] = 'S'
		copy(b[257:265], "ustar  \x00")
		copy(b[386:398], "00000000000\x00") // offset of the only piece
		copy(b[398:410], "00000000000\x00") // its length
		copy(b[483:495], "\x80\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00")
	})
}

func many(n int) []entry {
	out := make([]entry, n)
	for i := range out {
		out[i] = file("./f"+strings.Repeat("i", i), "")
	}
	return out
}

func hostileStreams(t testing.TB) []hostile {
	good := archive(t, file("./f", strings.Repeat("content ", 10_000)))
	zeros := archive(t, file("./zeros", strings.Repeat("\x00", 8<<20)))
	flipped := packXZ(t, good)
	flipped[len(flipped)/2] ^= 1
	badCheck := packXZ(t, good)
	badCheck[len(badCheck)-40] ^= 1 // in the block's check or the index behind it
	return []hostile{
		{name: "xz bomb", data: pkg(t, "data.tar.xz", packXZ(t, zeros)), want: "bytes allowed", opt: small},
		{name: "zstd bomb", data: pkg(t, "data.tar.zst", packZstd(t, zeros)), want: "bytes allowed", opt: small},
		{name: "gzip bomb", data: pkg(t, "data.tar.gz", packGzip(t, zeros)), want: "bytes allowed", opt: small},
		{name: "bomb behind the archive", data: pkg(t, "data.tar.zst", packZstd(t, append(bytes.Clone(good), make([]byte, 8<<20)...))), want: "bytes allowed", opt: small},
		{name: "zstd bomb by ratio", data: pkg(t, "data.tar.zst", packZstd(t, archive(t, file("./z", strings.Repeat("\x00", ratioFrom+1))))), want: "allowed"},
		{name: "xz dictionary of 4 GiB", data: pkg(t, "data.tar.xz", hugeDictionary(packXZ(t, good))), want: "dictionary"},
		{name: "zstd window of 512 MiB", data: pkg(t, "data.tar.zst", wideWindow(good)), want: "window"},
		{name: "truncated xz", data: pkg(t, "data.tar.xz", packXZ(t, good)[:200]), want: "data.tar"},
		{name: "truncated zstd", data: pkg(t, "data.tar.zst", packZstd(t, good)[:60]), want: "data.tar"},
		{name: "truncated gzip", data: pkg(t, "data.tar.gz", packGzip(t, good)[:100]), want: "data.tar"},
		{name: "truncated tar", data: pkg(t, "data.tar", good[:700]), want: "unexpected EOF"},
		{name: "changed xz", data: pkg(t, "data.tar.xz", flipped), want: "corrupt"},
		{name: "changed xz check", data: pkg(t, "data.tar.xz", badCheck), want: "corrupt"},
		{name: "no tar", data: pkg(t, "data.tar", bytes.Repeat([]byte("x"), 1024)), want: "invalid tar header"},
		{name: "not xz", data: pkg(t, "data.tar.xz", good), want: "xz"},
		{name: "unknown compression", data: pkg(t, "data.tar.lzma", good), want: "not known"},
	}
}

// wideWindow is a zstd frame of one raw block whose header asks for a window of
// 512 MiB (RFC 8878, 3.1.1).
func wideWindow(data []byte) []byte {
	const windowDescriptor = (29 - 10) << 3
	n := len(data)<<3 | 1 // last block, raw
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, windowDescriptor, byte(n), byte(n >> 8), byte(n >> 16)}
	return append(out, data...)
}

func hostileContainers(t testing.TB) []hostile {
	good := of(t, file("./f", "x"))
	version := part{"debian-binary", []byte("2.0\n")}
	ctl := func(text string) part {
		return part{"control.tar", archive(t, file("./control", text))}
	}
	data := part{"data.tar", archive(t, file("./f", "x"))}
	resize := func(size string) []byte {
		out := bytes.Clone(good)
		copy(out[len(arMagic)+sizeStart:], size)
		return out
	}
	tooMany := []part{version}
	for range maxMembers {
		tooMany = append(tooMany, part{"_x", nil})
	}
	return []hostile{
		{name: "empty", data: nil, want: "no ar magic"},
		{name: "bad magic", data: append([]byte("!<arcH>\n"), good[8:]...), want: "no ar magic"},
		{name: "magic alone", data: []byte(arMagic), want: "debian-binary"},
		{name: "bad header end", data: bytes.Replace(good, []byte("`\n"), []byte("'\n"), 1), want: "bad header"},
		{name: "size beyond the end", data: resize("9999999999"), want: "ends after"},
		{name: "negative size", data: resize("-1        "), want: "bad size"},
		{name: "size in hex", data: resize("0x4       "), want: "bad size"},
		{name: "no size", data: resize("          "), want: "bad size"},
		{name: "cut in a header", data: good[:len(arMagic)+30], want: "unexpected EOF"},
		{name: "cut in half", data: good[:len(good)/2], want: "ends after"},
		{name: "too many members", data: container(tooMany...), want: "ar members"},
		{name: "format 3", data: container(part{"debian-binary", []byte("3.0\n")}, ctl(control), data), want: "not 2.x"},
		{name: "no debian-binary", data: container(ctl(control), data), want: "no debian-binary"},
		{name: "no control", data: container(version, data), want: "where control.tar should be"},
		{name: "no data", data: container(version, ctl(control)), want: "no data.tar"},
		{name: "stray member", data: container(version, part{"evil", nil}, ctl(control), data), want: "where control.tar should be"},
		{name: "control without a file", data: container(version, part{"control.tar", archive(t, file("./postinst", "x"))}, data), want: "no control file"},
		{name: "control without fields", data: container(version, ctl("Package: x\n"), data), want: "lacks"},
		{name: "control with a path", data: container(version, ctl("Package: ../x\nVersion: 1\nArchitecture: all\n"), data), want: "is not one"},
		{name: "control bomb", data: container(version, part{"control.tar.gz", packGzip(t, archive(t, file("./control", strings.Repeat("x", 1<<20))))}, data), want: "bytes allowed", opt: small},
	}
}

func allHostile(t testing.TB) []hostile {
	out := hostilePaths(t)
	out = append(out, hostileTypes(t)...)
	out = append(out, hostileStreams(t)...)
	return append(out, hostileContainers(t)...)
}

// TestHostilePackages: each is refused for its own reason, the tree stays
// empty, and nothing but contents below the store's own folder appears.
func TestHostilePackages(t *testing.T) {
	cases := allHostile(t)
	if len(cases) < 30 {
		t.Fatalf("only %d packages", len(cases))
	}
	for _, h := range cases {
		t.Run(h.name, func(t *testing.T) {
			outer := t.TempDir()
			t.Chdir(outer)
			blobs, err := OpenBlobs(filepath.Join(outer, "a", "b", "blobs"))
			if err != nil {
				t.Fatal(err)
			}
			into, _, err := unpackBytes(t, h.data, blobs, h.opt)
			if err == nil || !strings.Contains(err.Error(), h.want) {
				t.Errorf("got %v, want %q in it", err, h.want)
			}
			if into.Len() != 0 {
				t.Errorf("the tree has %d entries", into.Len())
			}
			noEscape(t, outer)
		})
	}
}

// noEscape fails when dir holds anything but stored contents in a/b/blobs.
func noEscape(t *testing.T, dir string) {
	t.Helper()
	found, err := tree.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for path, e := range found.All() {
		inside := strings.HasPrefix(path, "a/b/blobs/") || path == "a/b/blobs" || path == "a/b" || path == "a"
		if !inside || e.IsSymlink() {
			t.Errorf("escaped: %s", path)
		}
		if strings.HasPrefix(path, "a/b/blobs/tmp/") {
			t.Errorf("left over: %s", path)
		}
	}
}

// TestNoEscapeCanFail shows that the check above sees what it looks for.
func TestNoEscapeCanFail(t *testing.T) {
	good, _, err := unpackBytes(t, of(t, file("./f", "x"), typed(tar.TypeLink, "./h", "./f")), store(t), small)
	if err != nil || good.Len() != 2 {
		t.Fatalf("the harmless twin of the packages was refused: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "evil"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	probe := &testing.T{}
	noEscape(probe, dir)
	if !probe.Failed() {
		t.Error("a file outside was not seen")
	}
}

// TestHostileMemory unpacks them all, with the default limits, in a process of
// its own and reads the kernel's account of its largest resident size.
func TestHostileMemory(t *testing.T) {
	const child, maxRSS = "DEB_HOSTILE_CHILD", 256 << 10 // KiB
	if raceEnabled {
		t.Skip("the race detector needs memory of its own")
	}
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHostileMemory$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1", "TMPDIR="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	blobs := store(t)
	for _, h := range allHostile(t) {
		_, _, _ = unpackBytes(t, h.data, blobs, Options{})
	}
	if got := peakKiB(t); got > maxRSS {
		t.Errorf("%d KiB resident, at most %d allowed", got, maxRSS)
	}
}
