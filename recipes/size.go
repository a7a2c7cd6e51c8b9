package recipes

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Size is a number of bytes as a recipe writes it, e.g. "20 MB". The empty Size is no limit.
type Size string

// Units as IEC 80000-13 has them: k is 1000, Ki is 1024. A bare number is bytes.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1},
}

// Bytes returns the size in bytes, 0 for the empty one. Fractions, signs and sizes past 2^63-1 are errors.
func (s Size) Bytes() (int64, error) {
	text := strings.ToUpper(strings.TrimSpace(string(s)))
	if text == "" {
		return 0, nil
	}
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 63)
		if err != nil || n == 0 || int64(n) > math.MaxInt64/u.bytes {
			break
		}
		return int64(n) * u.bytes, nil
	}
	return 0, fmt.Errorf("size %q is not a positive whole number with a unit (B, kB, MB, GB, KiB, MiB, GiB)", string(s))
}
