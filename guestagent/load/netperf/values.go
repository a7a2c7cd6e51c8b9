package netperf

import (
	"fmt"
	"strconv"
	"strings"
)

// pair splits "a,b". As in the original, "a" alone is both, "a," the first and ",b" the second; what is not given is "".
func pair(s string) (first, second string) {
	first, second, ok := strings.Cut(s, ",")
	if !ok {
		return s, s
	}
	return first, second
}

// two splits "a,b" where "a" alone is the first.
func two(s string) (first, second string) {
	first, second, _ = strings.Cut(s, ",")
	return first, second
}

// setInt stores a whole number, if one is given. base 0 takes 0x too.
func setInt(to *int, s string, lowest int) error {
	if s == "" {
		return nil
	}
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil || n < int64(lowest) || n > 1<<31-1 {
		return fmt.Errorf("%q is not a number from %d to %d", s, lowest, 1<<31-1)
	}
	*to = int(n)
	return nil
}

// setSize stores a number of bytes, if one is given.
func setSize(to *int, s string) error {
	if s == "" {
		return nil
	}
	n, err := parseSize(s)
	if err != nil {
		return err
	}
	*to = n
	return nil
}

// parseSize reads a whole number with a unit: K, M, G are powers of 1024, k, m, g of 1000.
func parseSize(s string) (int, error) {
	units := map[byte]int64{'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30, 'k': 1e3, 'm': 1e6, 'g': 1e9}
	digits, unit := s, int64(1)
	if u, ok := units[s[len(s)-1]]; ok {
		digits, unit = s[:len(s)-1], u
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n*unit > 1<<31-1 || n*unit < -1<<31 {
		return 0, fmt.Errorf("%q is not a number of bytes", s)
	}
	return int(n * unit), nil
}

// both applies set to the two values of a pair.
func both(set func(to *int, s string) error, a, b *int) func(string) error {
	return func(value string) error {
		first, second := pair(value)
		if err := set(a, first); err != nil {
			return err
		}
		return set(b, second)
	}
}
