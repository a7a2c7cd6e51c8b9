package capture

import (
	"strings"
	"testing"

	"picolab/guestagent/load/getopt"
)

func FuzzOptions(f *testing.F) {
	f.Add("-i lo -w x -C 1 -W 5 -G 3 -s 96 -c 10 -B 64 -pqnlU --json")
	f.Fuzz(func(t *testing.T, line string) {
		c := new(command)
		_, err := getopt.Parse(strings.Split(line, " "), c.options())
		if err == nil && (c.files.Size < 0 || c.files.Count < 0 || c.files.Every < 0 || c.capture.Snaplen < 0 || c.capture.Buffer < 0 || c.capture.Packets < 0) {
			t.Fatalf("%q: %+v", line, c)
		}
	})
}
