package module

import "slices"

// LoadAlias loads every module that claims a device (its modalias file's content) and says which were new. Most devices
// have none, which is no error.
func (s *Set) LoadAlias(modalias string) ([]string, error) {
	var all []string
	for _, n := range s.match(modalias) {
		l, err := s.load(n, nil)
		all = append(all, l...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// match lists the modules whose alias fits, in the order of the index.
func (s *Set) match(modalias string) []string {
	var names []string
	for _, a := range s.aliases {
		if Match(a.pattern, modalias) && !slices.Contains(names, a.name) {
			names = append(names, a.name)
		}
	}
	return names
}

// Match is fnmatch(3) without flags: * any bytes, ? one byte, [a-z] and [!a-z] sets, backslash quotes. A set that is not
// closed is a plain bracket. It takes time proportional to the product of the lengths.
func Match(pattern, s string) bool {
	star, mark := -1, 0 // where to go on after a failure: behind the last *, one more byte eaten
	p, i := 0, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			star, mark = p, i
			continue
		}
		if n, ok := matchByte(pattern[p:], s[i]); ok {
			p += n
			i++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchByte matches the first element of a pattern, which is not *, and says how long it is.
func matchByte(pattern string, c byte) (int, bool) {
	switch {
	case pattern == "":
		return 0, false
	case pattern[0] == '?':
		return 1, true
	case pattern[0] == '\\' && len(pattern) > 1:
		return 2, pattern[1] == c
	case pattern[0] == '[':
		if n, ok, closed := matchSet(pattern, c); closed {
			return n, ok
		}
	}
	return 1, pattern[0] == c
}

// matchSet matches a bracket expression at the start of a pattern.
func matchSet(pattern string, c byte) (n int, ok, closed bool) {
	i, negate := 1, false
	if i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^') {
		negate = true
		i++
	}
	for first := true; i < len(pattern); first = false {
		if pattern[i] == ']' && !first {
			return i + 1, ok != negate, true
		}
		lo, hi := pattern[i], pattern[i]
		i++
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			hi = pattern[i+1]
			i += 2
		}
		ok = ok || lo <= c && c <= hi
	}
	return 0, false, false
}
