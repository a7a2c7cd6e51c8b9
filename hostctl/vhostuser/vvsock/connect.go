package vvsock

import (
	"bytes"
	"errors"
	"strconv"
)

// maxLine is the length of the longest CONNECT line taken, with its newline: port 4294967295 and some leading zeros.
const maxLine = 32

var errLine = errors.New("malformed CONNECT line")

// parseConnect parses "CONNECT port\n" at the beginning of b, port in decimal, and returns the line's length. The length is
// 0 while the line is incomplete.
func parseConnect(b []byte) (port uint32, n int, err error) {
	const verb = "CONNECT "
	if len(b) > maxLine {
		b = b[:maxLine]
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		if k := min(len(b), len(verb)); len(b) == maxLine || string(b[:k]) != verb[:k] {
			return 0, 0, errLine
		}
		return 0, 0, nil
	}
	digits, ok := bytes.CutPrefix(b[:end], []byte(verb))
	if !ok {
		return 0, 0, errLine
	}
	v, err := strconv.ParseUint(string(digits), 10, 32)
	if err != nil {
		return 0, 0, errLine
	}
	return uint32(v), end + 1, nil
}
