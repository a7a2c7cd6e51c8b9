package debian

import (
	"errors"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"
)

var versionPairs = []struct {
	a, b string
	want int
}{
	{"1.0", "1.0", 0}, {"1.0-1", "1.0-2", -1}, {"1.0-10", "1.0-9", 1}, {"1:1.0", "2.0", 1}, {"0:1.0", "1.0", 0},
	{"1.0~rc1", "1.0", -1}, {"1.0~", "1.0~~", 1}, {"1.0~rc1-1", "1.0~rc1-1~bpo1", 1}, {"1.0+b1", "1.0", 1}, {"1.0a", "1.0+", -1},
	{"1.0.1", "1.0a", 1}, {"6.12.107-1", "6.12.41-1", 1}, {"2.41-12+deb13u4", "2.41-12", 1}, {"1.2.3", "1.2.03", 0},
	{"1.0-1-1", "1.0-1", 1}, {"10:1", "9:2", 1}, {"1.18446744073709551617", "1.18446744073709551616", 1}, {"1.0-0", "1.0", 0},
	{"1.0-~", "1.0", -1}, {"0.1", "0.1.", -1}, {"3:1.a", "3:1.A", 1}, {"1+z", "1-z", 1},
}

func sign(n int) int { return min(1, max(-1, n)) }

func TestCompare(t *testing.T) {
	for _, p := range versionPairs {
		if got := sign(Compare(p.a, p.b)); got != p.want {
			t.Errorf("Compare(%q, %q) = %d, want %d", p.a, p.b, got, p.want)
		}
		if got := sign(Compare(p.b, p.a)); got != -p.want {
			t.Errorf("Compare(%q, %q) = %d, want %d", p.b, p.a, got, -p.want)
		}
	}
}

// TestCompareAgainstDpkg lets dpkg judge the table and random versions of few characters, where the rules meet.
func TestCompareAgainstDpkg(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skip("dpkg(1) not installed")
	}
	pairs := slices.Clone(versionPairs)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		pairs = append(pairs, struct {
			a, b string
			want int
		}{a: randomVersion(rnd), b: randomVersion(rnd)})
	}
	for _, p := range pairs {
		op := map[int]string{-1: "lt-nl", 0: "eq", 1: "gt-nl"}[sign(Compare(p.a, p.b))]
		err := exec.Command(dpkg, "--compare-versions", p.a, op, p.b).Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Errorf("dpkg does not think that %q %s %q", p.a, op, p.b)
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func randomVersion(rnd *rand.Rand) string {
	const letters = "0019aZ.+~-"
	b := []byte{'0' + byte(rnd.IntN(3))}
	for range rnd.IntN(7) {
		b = append(b, letters[rnd.IntN(len(letters))])
	}
	if rnd.IntN(4) == 0 {
		return "1:" + string(b) + "0"
	}
	return string(b) + "0"
}

func TestCheckVersion(t *testing.T) {
	for _, v := range []string{"1.0-1", "1:2.3~rc+b1", "0", "20260101.gitabc-1~deb13u1"} {
		if err := checkVersion(v); err != nil {
			t.Error(err)
		}
	}
	for _, v := range []string{"", "a b", "1;2", "-1", "x:1", "1\n", "~1", "1/2"} {
		if checkVersion(v) == nil {
			t.Errorf("%q was taken for a version", v)
		}
	}
}
