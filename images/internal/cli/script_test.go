package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"picolab/images/internal/imagetest"
)

// TestScripts runs testdata/*.txtar. Each script has an archive, recipes and a source tree of its own; see
// imagetest.Bench. Beyond testscript's commands there are:
//
//	exits N labimage ARGS...   run, and fail unless the exit code is N
//	publish N                  replace the archive's packages by version N
//	drop PATH                  take a file off the mirror
//	spoil PATH                 change a byte of a file on the mirror
//	flip FILE                  change a byte in the middle of a local file
//	module FILE RELEASE [INFO...]  write a kernel module built for a release
//	bzimage FILE RELEASE       write the beginning of a kernel image
//	package FILE NAME PATH SOURCE  write a .deb with one file
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles busyboxes")
	}
	var benches sync.Map // of *imagetest.Bench, by script: scripts are set up beside one another
	bench := func(ts *testscript.TestScript) *imagetest.Bench {
		b, _ := benches.Load(ts.Getenv("WORK"))
		return b.(*imagetest.Bench)
	}
	goEnv := goEnvironment(t)
	derived := t.TempDir() // shared: a busybox is the same for all scripts
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			b := imagetest.New(e.T().(testing.TB), e.WorkDir)
			benches.Store(e.WorkDir, b)
			e.Vars = append(e.Vars, goEnv...)
			e.Vars = append(e.Vars, "PICOLAB_MIRROR="+b.URL, "PICOLAB_CACHE="+e.WorkDir+"/cache", "PICOLAB_SOURCE="+b.Source, "DERIVED="+derived)
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "userns" {
				return exec.Command("unshare", "-rmn", "true").Run() == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"flip":    flip,
			"module":  func(ts *testscript.TestScript, _ bool, args []string) { module(t, ts, args) },
			"bzimage": func(ts *testscript.TestScript, _ bool, args []string) { put(ts, args[0], imagetest.BzImage(args[1])) },
			"package": func(ts *testscript.TestScript, _ bool, args []string) { pack(t, ts, args) },
			"publish": func(ts *testscript.TestScript, _ bool, args []string) { bench(ts).Publish(t, args[0]) },
			"drop":    func(ts *testscript.TestScript, _ bool, args []string) { bench(ts).Set(args[0], nil) },
			"spoil":   func(ts *testscript.TestScript, _ bool, args []string) { spoil(bench(ts), args[0]) },
		},
	})
}

// goEnvironment passes the go command's caches on: a script's home is empty.
func goEnvironment(t *testing.T) []string {
	names := []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS"}
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Skip("the go command is not installed")
	}
	var env []string
	for i, value := range strings.Split(strings.TrimRight(string(out), "\n"), "\n") {
		env = append(env, names[i]+"="+value)
	}
	return env
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := err.(*exec.ExitError); ok {
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func put(ts *testscript.TestScript, name, content string) {
	file := ts.MkAbs(name)
	ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
	ts.Check(os.WriteFile(file, []byte(content), 0o644))
}

func module(t testing.TB, ts *testscript.TestScript, args []string) {
	name := strings.TrimSuffix(filepath.Base(args[0]), ".ko")
	info := append([]string{"name=" + name, "license=GPL", "vermagic=" + args[1] + " SMP mod_unload "}, args[2:]...)
	put(ts, args[0], imagetest.Module(t, info...))
}

func pack(t testing.TB, ts *testscript.TestScript, args []string) {
	data := imagetest.Deb(t, args[1], "1", imagetest.File{Path: args[2], Content: ts.ReadFile(args[3])})
	put(ts, args[0], string(data))
}

func flip(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	data, err := os.ReadFile(file)
	ts.Check(err)
	data[len(data)/2] ^= 1
	ts.Check(os.WriteFile(file, data, 0o644))
}

func spoil(b *imagetest.Bench, path string) {
	data := append([]byte{}, b.Get(path)...)
	data[len(data)/2] ^= 1
	b.Set(path, data)
}
