package memif

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// guard calls fn and returns its error; memory that is gone when it is touched, which a client can bring about, is an error, too.
func guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		switch r := recover().(type) {
		case nil:
		case interface {
			runtime.Error
			Addr() uintptr
		}:
			err = fmt.Errorf("memory is gone: %w: %w", r, errBroken)
		default:
			panic(r)
		}
	}()
	return fn()
}
